// Connects as each line of stdin says, a host, a port and a file of roots between tabs, and answers
// with a line: what the server or Node has to say to that. Every host is 127.0.0.1.
//
// The argument is the name that a version of node-postgres is installed under.
"use strict";

const fs = require("fs");
const net = require("net");
const readline = require("readline");
const { Client } = require(process.argv[2]);

class Redirected extends net.Socket {
  connect(port, host) {
    return super.connect(port, "127.0.0.1");
  }
}

async function attempt(line) {
  const [host, port, roots] = line.split("\t");
  const client = new Client({
    host,
    port: Number(port),
    user: "somebody",
    database: "anything",
    ssl: { ca: fs.readFileSync(roots, "utf8") },
    stream: () => new Redirected(),
  });
  try {
    await client.connect();
    return "connected";
  } catch (error) {
    return error.message.replaceAll("\n", " ");
  } finally {
    await client.end();
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(await attempt(line));
  }
})();
