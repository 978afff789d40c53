/** Verifier keys of small order: right in form, and worthless. */

import { concat, encodeBase64, fromHex, toHex, utf8 } from "../../server/tlog_server/static/js/bytes.js";
import { sha256 } from "../../server/tlog_server/static/js/hash.js";

// The points of small order and their other encodings. Source: libsodium's and the Wycheproof project's lists.
const POINTS = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/** The vkeys of these points under a name. */
export function compute(name) {
  return Promise.all(
    POINTS.map(async (hex) => {
      const material = concat(Uint8Array.of(1), fromHex(hex, "point", 32));
      const keyId = (await sha256(concat(utf8(`${name}\n`), material))).subarray(0, 4);
      return `${name}+${toHex(keyId)}+${encodeBase64(material)}`;
    }),
  );
}
