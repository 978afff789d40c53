/**
 * The key of a log: the one that this browser keeps, or else the form that asks for it.
 */

import { VerifyError, shown } from "./errors.js";
import { parseVkey } from "./note.js";
import { byId, make } from "./page-dom.js";

/**
 * The pinned key of a log, asked for where there is none yet.
 * @param {import("./memory.js").Memory} memory
 * @param {string} origin of the log
 * @param {string | null} offered the key that the server shows, null where it shows none
 * @param {() => void} [onAsk] called when the form is shown
 * @returns {Promise<import("./memory.js").Remembered>} Throws: VerifyError "key-changed" where the server shows another
 *   key than the pinned one, "memory".
 */
export async function pinnedKey(memory, origin, offered, onAsk = () => {}) {
  const found = memory.look(origin);
  if (found !== null) return offered === null ? found : memory.require(await parseVkey(offered));
  onAsk();
  return ask(memory, origin, offered);
}

function ask(memory, origin, offered) {
  const [form, field, take] = [byId("key-form"), byId("key-text"), byId("key-take")];
  form.hidden = false;
  take.hidden = offered === null;
  return new Promise((resolve) => {
    const use = async (text) => {
      form.querySelector("[role=alert]")?.remove();
      try {
        const key = await parseVkey(text.trim());
        if (key.name !== origin) {
          throw new VerifyError("format", `This key is of the log ${shown(key.name)}, not of ${shown(origin)}.`);
        }
        const pinned = memory.pin(key);
        form.hidden = true;
        resolve(pinned);
      } catch (error) {
        form.append(make("p", { role: "alert", class: "grave" }, error.message));
        field.setAttribute("aria-invalid", "true");
      }
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      void use(field.value);
    };
    take.onclick = () => void use(offered);
  });
}
