const path = require("path");

exports.folder = process.env.INPUT_PATH.replace(/^~/, process.env.HOME);
exports.entry = (key) => path.join(process.env.KEPT, encodeURIComponent(key));
