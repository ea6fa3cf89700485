export interface Token {
  kind: "key" | "string" | "number" | "word" | "plain";
  text: string;
}

/** Splits formatted JSON into coloured parts. The parts joined are the input again, whatever it is. */
export function tokens(json: string): Token[] {
  const out: Token[] = [];
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)/g;
  let end = 0;
  for (const m of json.matchAll(pattern)) {
    if (m.index > end) out.push({ kind: "plain", text: json.slice(end, m.index) });
    if (m[1] !== undefined) {
      out.push({ kind: m[2] === undefined ? "string" : "key", text: m[1] });
      if (m[2] !== undefined) out.push({ kind: "plain", text: m[2] });
    } else out.push({ kind: m[3] === undefined ? "word" : "number", text: m[0] });
    end = m.index + m[0].length;
  }
  if (end < json.length) out.push({ kind: "plain", text: json.slice(end) });
  return out;
}
