"use strict";

const assert = require("node:assert/strict");
const {spawnSync} = require("node:child_process");
const fs = require("node:fs");
const {describe, test} = require("node:test");

const {SCRIPT, open_page} = require("./page.js");

const PATIENCE = 120000;
const declared = fs.readFileSync(SCRIPT.replace(/\.js$/, ".d.ts"), "utf8");
const [methods_part, options_part] = declared.split("declare namespace");

/* The names that a pattern's group finds, sorted. */
function names(text, pattern) {
    return [...new Set([...text.matchAll(pattern)].map(found => found[1]))].sort();
}

test("the declared methods are those there are", () => {
    const page = open_page();
    const client = new page.WS4Redis({uri: "ws://www.example.com/"});
    assert.deepEqual(names(methods_part, /^ {4}(\w+)\(/gm), Object.keys(client).sort());
});

test("the declared options are those that the script reads", () => {
    const source = fs.readFileSync(SCRIPT, "utf8");
    assert.deepEqual(
        names(options_part, /^ {8}(\w+)\??[:(]/gm),
        names(source, /(?:\boptions\.|\bnotify\(")(\w+)/g),
    );
});

/* npx fetches the compiler, if it is not there from an earlier run. */
function tsc(...args) {
    const npx = ["--yes", "--package", "typescript@5.9", "tsc", ...args];
    const {status, stdout, stderr, error} = spawnSync("npx", npx, {
        cwd: __dirname, encoding: "utf8", timeout: PATIENCE,
    });
    return {status, output: error ? error.message : stdout + stderr};
}

describe("tsc accepts types.ts, and refuses what it shall, with --module", () => {
    const {status, output} = tsc("--version");
    const skip = status !== 0 && `no TypeScript: ${output}`;
    ["commonjs", "preserve", "nodenext"].forEach(module => test(module, {skip}, () => {
        const options = ["--noEmit", "--strict", "--target", "es2020", "--module", module];
        const checked = tsc(...options, "types.ts");
        assert.equal(checked.status, 0, checked.output);
    }));
});
