// Makes recipients' links offline: the token format of proto/README.md, with what Node.js brings alone.
//
//   node mint.mjs KEY_FILE URL_PREFIX TEMPLATE RECIPIENT [ENDS_ON]
//   node mint.mjs --check vectors.json
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const CONTEXT = "clickwire recipient link v1\0";
const EPOCH = Date.UTC(2025, 0, 1);
const DAY = 24 * 60 * 60 * 1000;

function varint(number) {
  const out = [];
  for (; number >= 0x80n; number >>= 7n) out.push(Number(number & 0x7fn) | 0x80);
  out.push(Number(number));
  return out;
}

/** The token of one recipient; the link leads nowhere from the beginning (UTC) of `endsOn` (`2027-03-01`) on. */
export function token(key, template, recipient, endsOn) {
  const parts = /^mint_(\d{1,2})_([A-Za-z0-9_-]{43})$/.exec(key);
  if (!parts || Number(parts[1]) > 63) throw new RangeError("not a minting key");
  [template, recipient] = [BigInt(template), BigInt(recipient)];
  if (template < 1n || template >= 1n << 32n || recipient < 0n || recipient >= 1n << 64n) {
    throw new RangeError("a template has 32 bits, a recipient 64");
  }
  const said = [0x40 | Number(parts[1]), ...varint(template), ...varint(recipient)];
  if (endsOn) {
    const days = (Date.parse(endsOn) - EPOCH) / DAY;
    if (!Number.isInteger(days) || days < 0 || days > 0xffff) throw new RangeError("not a day from 2025 on");
    said.push(days >> 8, days & 0xff);
  }
  const secret = Buffer.from(parts[2], "base64url");
  const signature = createHmac("sha256", secret).update(CONTEXT).update(Buffer.from(said)).digest();
  return Buffer.concat([Buffer.from(said), signature.subarray(0, 8)]).toString("base64url");
}

function check(path) {
  const { good } = JSON.parse(readFileSync(path, "utf8"));
  for (const vector of good) {
    const made = token(vector.key, vector.template, vector.recipient, vector.ends_on);
    if (made !== vector.token) throw new Error(`${JSON.stringify(vector)}: made ${made}`);
  }
  if (!good.length) throw new Error("there are no vectors");
  console.log(`${good.length} tokens are as they should be`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [first, ...rest] = process.argv.slice(2);
  if (first === "--check") check(rest[0]);
  else console.log(rest[0] + token(readFileSync(first, "ascii").trim(), ...rest.slice(1)));
}
