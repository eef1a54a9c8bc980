// JSON to component values and back. Independent of the fields of the contract: jco writes the component's types as
// TypeScript declarations, which are parsed here.
//
//   JSON                     component value
//   snake_case fields        camelCase fields
//   null                     undefined
//   "TimedOut"               'timed-out'
//   {"KickClients": {…}}     { tag: 'kick-clients', val: {…} }
//   BigInt                   number up to 32 bits, BigInt for 64: as declared

import { stringify } from 'lossless-json';

/** Names to `{ fields }`, `{ names }` or `{ cases }`, out of the declarations of one interface. */
export function readTypes(declarations) {
  const types = new Map();
  for (const [, name, body] of declarations.matchAll(/^export interface (\w+) \{\n([^}]*)\}/gm)) {
    types.set(name, { fields: [...body.matchAll(/^ {2}(\w+)(\??): (.+),$/gm)].map(([, field, optional, type]) => ({ field, optional, type })) });
  }
  for (const [, name, body] of declarations.matchAll(/^export type (\w+) = (.+);$/gm)) {
    const parts = body.split(' | ');
    if (parts.every((part) => part.startsWith("'"))) types.set(name, { names: parts.map(unquoted) });
    else types.set(name, { cases: new Map(parts.map((part) => caseOf(types.get(part)))) });
  }
  return types;
}

/** A case is declared as `{ tag: 'promote', val: Promote }`. */
function caseOf({ fields: [tag, val] }) {
  return [unquoted(tag.type), val.type];
}

/** JSON to a component value of the named type; `where` is its path for error messages. */
export function lower(types, type, value, where) {
  const item = listItem(type);
  if (item) return expect(Array.isArray(value), 'a list', value, where).map((one, n) => lower(types, item, one, `${where}[${n}]`));
  switch (type) {
    case 'string':
    case 'boolean':
      return expect(typeof value === type, `a ${type}`, value, where);
    case 'bigint':
      return expect(typeof value === 'bigint' && value >= -(2n ** 63n) && value < 2n ** 64n, 'a 64-bit integer', value, where);
    case 'number':
      // The declarations do not distinguish u16 from u32, so jco truncates a u16 that is too large. The contract has no small signed integers.
      return Number(expect(typeof value === 'bigint' && value >= 0n && value < 2n ** 32n, 'a 32-bit integer', value, where));
  }
  const { fields, names, cases } = types.get(type);
  if (names) return expect(names.includes(kebab(value)), `one of ${names}`, value, where) && kebab(value);
  expect(value !== null && typeof value === 'object', `a ${type}`, value, where);
  if (fields) {
    return Object.fromEntries(fields.map(({ field, optional, type }) => {
      const inner = value[snake(field)] ?? null;
      return [field, optional && inner === null ? undefined : lower(types, type, inner, `${where}.${snake(field)}`)];
    }));
  }
  const tag = kebab(Object.keys(value).join());
  expect(cases.has(tag), `one of ${[...cases.keys()]}`, value, where);
  return { tag, val: lower(types, cases.get(tag), Object.values(value)[0], `${where}.${tag}`) };
}

/** A component value of the named type to JSON. */
export function lift(types, type, value) {
  const item = listItem(type);
  if (item) return value.map((one) => lift(types, item, one));
  if (type === 'number') return BigInt(value);
  if (!types.has(type)) return value;
  const { fields, names, cases } = types.get(type);
  if (names) return pascal(value);
  if (cases) return { [pascal(value.tag)]: lift(types, cases.get(value.tag), value.val) };
  return Object.fromEntries(fields.map(({ field, type }) => [snake(field), value[field] === undefined ? null : lift(types, type, value[field])]));
}

function expect(holds, wanted, value, where) {
  if (!holds) throw new TypeError(`${where}: ${stringify(value).slice(0, 80)} is not ${wanted}`);
  return value;
}

const listItem = (type) => /^Array<(.+)>$/.exec(type)?.[1];
const unquoted = (literal) => literal.slice(1, -1);
const snake = (camel) => camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const kebab = (pascalCase) => String(pascalCase).replace(/[A-Z]/g, (letter, at) => `${at ? '-' : ''}${letter.toLowerCase()}`);
const pascal = (kebabCase) => kebabCase.replace(/(^|-)([a-z])/g, (_, dash, letter) => letter.toUpperCase());
