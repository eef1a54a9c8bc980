#!/usr/bin/env node
// Runs a failover policy from JavaScript: what would it do, and why?
//
//   host.mjs COMPONENT.wasm SCENARIO.json…     runs scenarios in full; exit code 1 if a decision differs from the expected one
//   host.mjs COMPONENT.wasm <OBSERVATION.json  prints the Decision
//
// Owns loading and comparing; types.mjs turns JSON into component values and back. The host carries out no plan.

import { readFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { transpileBytes } from '@bytecodealliance/jco-transpile';
import { parse, stringify } from 'lossless-json';
import { lift, lower, readTypes } from './types.mjs';

const INTERFACE = 'redis-failover:policy/policy@0.2.';

/** Compiles a component file once. Returns the function from Observation to Decision, both as JSON values. */
async function loadPolicy(path) {
  const { files, imports, exports } = await transpileBytes(readFileSync(path), { name: 'policy', instantiation: 'sync' });
  if (imports.length > 0) throw new Error(`a policy must not import anything; this one imports ${imports.join(', ')}`);
  const name = exports.map(([name]) => name).find((name) => name.startsWith(INTERFACE));
  if (!name) throw new Error(`exports ${exports.map(([name]) => name).join(', ') || 'nothing'}, not ${INTERFACE}…`);

  const text = (file) => Buffer.from(files[file]).toString();
  const types = readTypes(text(Object.keys(files).find((file) => /^interfaces\/.*\.d\.ts$/.test(file))));
  const modules = new Map(Object.keys(files).filter((file) => file.endsWith('.wasm')).map((file) => [file, new WebAssembly.Module(files[file])]));
  const { instantiate } = await importText(text('policy.js'));
  return (observation) => {
    // A fresh instance every time: an instance that trapped is unusable.
    const instance = instantiate((file) => modules.get(file), {});
    return lift(types, 'Decision', instance[name].decide(lower(types, 'Observation', observation, 'observation')));
  };
}

/** Runs generated JavaScript; Node imports only modules with a URL. */
async function importText(source) {
  const folder = mkdtempSync(join(tmpdir(), 'policy-'));
  try {
    writeFileSync(join(folder, 'policy.mjs'), source);
    return await import(pathToFileURL(join(folder, 'policy.mjs')));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** JSON whose integers are all BigInt: a JavaScript number would round offsets beyond 2^53. */
const parseExactly = (text) => parse(text, undefined, (digits) => (/^-?\d+$/.test(digits) ? BigInt(digits) : Number(digits)));

/** Prints the differences, then a summary. Returns the number of failures. */
function runScenarios(decide, paths) {
  let failed = 0;
  for (const path of paths) {
    const { why, observation, decision } = parseExactly(readFileSync(path, 'utf8'));
    let actual;
    try {
      actual = decide(observation);
    } catch (error) {
      actual = String(error);
    }
    if (!isDeepStrictEqual(actual, decision)) {
      failed += 1;
      console.log(`${path}: ${why}\nexpected ${stringify(decision, null, 2)}\nactual ${stringify(actual, null, 2)}`);
    }
  }
  console.log(`${paths.length - failed} passed, ${failed} failed`);
  return failed;
}

const [component, ...scenarios] = process.argv.slice(2);
if (!component || component.startsWith('-')) {
  console.error('usage: host.mjs COMPONENT.wasm [SCENARIO.json…]   without scenarios: an Observation on standard input');
  process.exit(2);
}
try {
  const decide = await loadPolicy(component);
  if (scenarios.length > 0) process.exitCode = runScenarios(decide, scenarios) > 0 ? 1 : 0;
  else console.log(stringify(decide(parseExactly(readFileSync(0, 'utf8')))));
} catch (error) {
  console.error(`host.mjs: ${error.message}`);
  process.exitCode = 2;
}
