/**
 * What pages fetch of a log for the reader to decide about; nothing here is believed.
 */

const MAX_KEY_SIZE = 1000;

/**
 * The verifier key that this server shows for a log, null where it shows none of that name.
 * @param {string} partition
 * @param {string} origin
 * @returns {Promise<string | null>}
 */
export async function fetchedKey(partition, origin) {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(partition)) return null;
  try {
    const answer = await fetch(`/${partition}/vkey`, { redirect: "error" });
    const text = answer.ok ? (await answer.text()).trim() : "";
    return text.length <= MAX_KEY_SIZE && text.startsWith(`${origin}+`) ? text : null;
  } catch {
    return null;
  }
}
