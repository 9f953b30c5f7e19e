// Is an address in a subnet, and how does one get out of a network?

function bitsOf(text) {
  if (!text.includes(":")) return text.split(".").map((part) => Number(part).toString(2).padStart(8, "0")).join("");
  const [head, tail] = text.split("::").map((half) => half.split(":").filter(Boolean));
  const groups = tail ? [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail] : head;
  return groups.map((group) => parseInt(group, 16).toString(2).padStart(16, "0")).join("");
}

/** ("10.20.0.7/24" or "10.20.0.7", "10.20.0.0/24") → true; of another family, or without a subnet, false */
export function inSubnet(address, subnet) {
  if (!subnet || address.includes(":") !== subnet.includes(":")) return false;
  const [base, length] = subnet.split("/");
  return bitsOf(address.split("/")[0]).slice(0, Number(length)) === bitsOf(base).slice(0, Number(length));
}

/** How a network's members get out of the host, in a word or two */
export function wayOut({ engine, driver, nat }) {
  if (engine !== "raw" && driver !== "bridge") return driver === "host" ? "the host's own" : "none";
  return nat ? "NAT" : "internal";
}
