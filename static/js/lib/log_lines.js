// What the page keeps of a log: the last lines, bounded in lines and characters; and finding in it.

export const MOST_LINES = 5000;
export const MOST_TEXT = 2_000_000; // characters
export const MOST_FOUND = 1000;

export class LogLines {
  text = "";
  dropped = false; // there was more than is kept

  add(more) {
    this.text += more;
    let cut = 0;
    let breaks = 0;
    for (let at = this.text.length; at > 0; ) {
      at = this.text.lastIndexOf("\n", at - 1);
      if (at < 0) break;
      if (at === this.text.length - 1) continue; // ends the last line
      breaks += 1;
      if (breaks >= MOST_LINES || this.text.length - at - 1 > MOST_TEXT) {
        cut = at + 1;
        break;
      }
    }
    if (this.text.length - cut > MOST_TEXT) cut = this.text.length - MOST_TEXT;
    if (cut) this.dropped = true;
    this.text = this.text.slice(cut);
  }

  clear() {
    this.text = "";
    this.dropped = false;
  }
}

/** → offsets of what is wanted, whatever its case; at most MOST_FOUND, the newest */
export function findAll(text, wanted) {
  const found = [];
  if (!wanted) return found;
  const hay = text.toLowerCase();
  const needle = wanted.toLowerCase();
  for (let at = hay.lastIndexOf(needle); at >= 0 && found.length < MOST_FOUND; at = at > 0 ? hay.lastIndexOf(needle, at - 1) : -1) found.unshift(at);
  return found;
}

const UNITS = { s: 1, min: 60, m: 60, h: 3600, d: 86400 };

/** "15 min", "2h" (ago) or "2026-01-31 12:00" → Unix seconds; "" is 0, everything; what is neither is NaN */
export function parseSince(text, now = Date.now() / 1000) {
  const plain = text.trim();
  if (!plain) return 0;
  const ago = /^([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d)$/i.exec(plain);
  if (ago) return Math.max(0, now - Number(ago[1]) * UNITS[ago[2].toLowerCase()]);
  return /^[0-9]{4}-/.test(plain) ? Date.parse(plain) / 1000 : NaN;
}
