// A key that is there is never written again
const fs = require("fs");
const { folder, entry } = require("./place.js");

fs.cpSync(folder, entry(process.env.INPUT_KEY), { recursive: true, preserveTimestamps: true, errorOnExist: true, force: false });
