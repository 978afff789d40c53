/**
 * The search's form: what was left empty does not make the address longer.
 */

import { byId } from "./page-dom.js";

byId("search").addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) {
    if (value === "" || (name === "order" && value === "newest")) formData.delete(name);
  }
});
