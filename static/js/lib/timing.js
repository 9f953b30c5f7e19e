// Doing things less often.

/** Calls at once, then at most every `wait` ms, always with the latest arguments. flush() sends what waits, cancel() drops it. */
export function throttle(fn, wait) {
  let timer = 0;
  let latest = null;
  const run = () => {
    timer = 0;
    if (latest === null) return;
    const args = latest;
    latest = null;
    fn(...args);
    timer = setTimeout(run, wait);
  };
  const call = (...args) => {
    latest = args;
    if (!timer) run();
  };
  call.flush = () => {
    clearTimeout(timer);
    run();
  };
  call.cancel = () => {
    clearTimeout(timer);
    timer = 0;
    latest = null;
  };
  return call;
}

/** Calls once, `wait` ms after the last call. */
export function debounce(fn, wait) {
  let timer = 0;
  const call = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(fn, wait, ...args);
  };
  call.cancel = () => clearTimeout(timer);
  return call;
}

/** Again and again while the page is seen. → a function that ends it */
export function repeat(read, every) {
  const timer = setInterval(() => document.hidden || read(), every);
  return () => clearInterval(timer);
}
