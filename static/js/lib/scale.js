// Where a value lies on a slider's track: 0 to STEPS. Logarithmic where the range is wide, so that 16 MiB and 16 GiB both have room.

export const STEPS = 1000;
const WIDE = 50; // largest by smallest value from which a linear track would crowd its low end

function snap(kind, value) {
  if (kind === "share") return Math.round(value / (value < 1 ? 0.01 : 0.05)) * (value < 1 ? 0.01 : 0.05);
  if (kind === "size") {
    const mebi = 1 << 20;
    const step = value >= mebi && value < 256 * mebi ? mebi : Math.max(2 ** Math.floor(Math.log2(value / 64)), 1 << 10);
    return Math.round(value / step) * step;
  }
  return value < 100 ? Math.round(value) : Number(value.toPrecision(2));
}

/** → {log, toPosition(value), toValue(position)}; both clamp to the range. */
export function makeScale({ kind, minimum, maximum }) {
  const low = minimum > 0 ? minimum : kind === "size" ? 1 << 20 : kind === "share" ? 0.01 : 1; // a logarithm has no 0
  const high = Math.max(maximum, low * 2);
  const log = high / low > WIDE;
  const clamp = (value) => Math.min(Math.max(value, low), high);
  return {
    log,
    low,
    high,
    toPosition(value) {
      const inside = clamp(value);
      const share = log ? Math.log(inside / low) / Math.log(high / low) : (inside - low) / (high - low);
      return Math.round(share * STEPS);
    },
    toValue(position) {
      if (position <= 0) return minimum;
      if (position >= STEPS) return high;
      const share = position / STEPS;
      const raw = log ? low * (high / low) ** share : low + share * (high - low);
      const value = clamp(snap(kind, raw));
      return kind === "share" ? Math.round(value * 1000) / 1000 : Math.round(value);
    },
  };
}
