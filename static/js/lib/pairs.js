// Names and their values as lines of text: variables, labels, hosts.

/** "NAME=value" lines → [[name, value], …] */
export function pairs(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => (line.includes("=") ? [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] : [line, ""]));
}
