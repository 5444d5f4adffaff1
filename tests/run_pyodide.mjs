// Runs a Python program (standard input) under the Pyodide of a folder, as the worker of a page does; prints what it prints.
import {readFileSync} from 'node:fs';
import {pathToFileURL} from 'node:url';

const folder = process.argv[2];
const {loadPyodide} = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const pyodide = await loadPyodide({indexURL: folder});
await pyodide.loadPackage(['moedocs'], {messageCallback: () => {}});
pyodide.runPython(readFileSync(0, 'utf8'));
process.exit(0);
