// Holds Terraform files against the provider's schema: unknown and missing arguments of each resource, with file and name.
//
//     node deploy/terraform/check.js FOLDER...
//
// Needs @cdktn/hcl2json (HashiCorp's own parser) and @cdktn/provider-azurerm (the provider's schema as types). References
// and types of expressions are not checked: `terraform validate` does that where it can be had.
'use strict';
const fs = require('fs');
const path = require('path');
const { parse } = require('@cdktn/hcl2json');
const provider = path.dirname(require.resolve('@cdktn/provider-azurerm/package.json'));

// Arguments that every resource may have.
const META = new Set(['for_each', 'count', 'depends_on', 'lifecycle', 'provider', 'timeouts', 'dynamic', 'provisioner', 'connection']);

// The arguments of a configuration interface: snake_case name to whether it is required.
function argumentsOf(text, name) {
  const start = text.search(new RegExp(`export interface ${name}( extends [^{]+)? \\{`));
  if (start < 0) return null;
  const body = text.slice(text.indexOf('{', start) + 1);
  const found = new Map();
  let depth = 1;
  let comment = '';
  for (const line of body.split('\n')) {
    const property = line.match(/^\s*readonly (\w+)(\??): (.+?);?$/);
    const tag = line.match(/ \w+#(\w+)\}/);
    if (tag) comment = tag[1];
    if (property) {
      const type = property[3].replace(/\[\].*$/, '').replace(/ \|.*$/, '');
      found.set(comment || property[1], { required: property[2] === '', type });
      comment = '';
    }
    depth += (line.match(/\{/g) || []).length - (line.match(/\}/g) || []).length;
    if (depth <= 0) break;
  }
  return found;
}

function check(block, text, type, place, problems) {
  const known = argumentsOf(text, type);
  if (!known) return;
  for (const [key, value] of Object.entries(block)) {
    if (META.has(key)) continue;
    if (!known.has(key)) {
      problems.push(`${place}: unknown argument ${key}`);
      continue;
    }
    if (Array.isArray(value)) {
      for (const inner of value) {
        if (inner && typeof inner === 'object' && !Array.isArray(inner)) check(inner, text, known.get(key).type, `${place}.${key}`, problems);
      }
    }
  }
  for (const [key, { required }] of known) {
    if (required && !(key in block)) problems.push(`${place}: missing argument ${key}`);
  }
}

async function main() {
  const problems = [];
  let resources = 0;
  for (const folder of process.argv.slice(2)) {
    for (const file of fs.readdirSync(folder).filter((name) => name.endsWith('.tf'))) {
      const name = path.join(folder, file);
      const tree = await parse(name, fs.readFileSync(name, 'utf8'));
      for (const kind of ['resource', 'data']) {
        for (const [type, named] of Object.entries(tree[kind] || {})) {
          if (!type.startsWith('azurerm_')) continue;
          const short = type.slice('azurerm_'.length);
          const module = (kind === 'data' ? 'data-azurerm-' : '') + short.replace(/_/g, '-');
          const declarations = path.join(provider, 'lib', module, 'index.d.ts');
          if (!fs.existsSync(declarations)) {
            problems.push(`${name}: the provider has no ${kind} ${type}`);
            continue;
          }
          const text = fs.readFileSync(declarations, 'utf8');
          const config = text.match(/export interface (\w+Config) extends/)[1];
          for (const [label, blocks] of Object.entries(named)) {
            for (const block of blocks) {
              resources += 1;
              check(block, text, config, `${name}: ${type}.${label}`, problems);
            }
          }
        }
      }
    }
  }
  problems.forEach((problem) => console.error(problem));
  console.log(`    ${resources} resources, ${problems.length} problems`);
  process.exit(problems.length || resources === 0 ? 1 : 0);
}

main().catch((error) => {
  console.error(error.message || error);
  process.exit(1);
});
