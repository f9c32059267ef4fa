// Evaluates what `pki config node` printed, and connects.
"use strict";

const [file, query] = process.argv.slice(2);
const printed = require("fs").readFileSync(file, "utf8");
const client = new Function("require", `${printed}\nreturn client;`)(require);

(async () => {
  await client.connect();
  const { rows } = await client.query(query);
  console.log(rows[0].answer);
  await client.end();
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
