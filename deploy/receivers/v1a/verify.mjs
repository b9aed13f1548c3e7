// Verifies the `v1a` signature of a webhook: ed25519, with nothing but Node.js (16 or newer).
//
// Take `verify` into your program. As a program it reads {"public_keys", "headers", "body"} from its input and ends with 3
// when it refuses; the tests run it so.
import { createPublicKey, verify as check } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const TOLERANCE_SECONDS = 300;

/** The request is not what its sender signed, or was not sent just now. */
export class Refused extends Error {}

/** `publicKeys`: `whpk_…`, several while they are exchanged; `headers`: with names in lower case; `body`: a Buffer, as it came. */
export function verify(publicKeys, headers, body) {
    const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) => headers[`webhook-${name}`]);
    if (!id || !signatures || !/^\d+$/.test(timestamp ?? "")) throw new Refused("a header is missing or malformed");
    if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) {
        throw new Refused("it is too old, or one of the two clocks is wrong");
    }
    const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
    const keys = publicKeys.map((text) => {
        const x = Buffer.from(text.replace(/^whpk_/, ""), "base64").toString("base64url");
        return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    });
    const matches = signatures
        .split(" ")
        .filter((entry) => entry.startsWith("v1a,"))
        .map((entry) => Buffer.from(entry.slice("v1a,".length), "base64"))
        .some((signature) => keys.some((key) => check(null, signed, key, signature)));
    if (!matches) throw new Refused("no v1a signature matches");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    const given = JSON.parse(readFileSync(0, "utf8"));
    try {
        verify(given.public_keys, given.headers, Buffer.from(given.body));
    } catch (error) {
        if (!(error instanceof Refused)) throw error;
        console.error(error.message);
        process.exit(3);
    }
}
