#!/usr/bin/env python3
"""Judges a page by axe-core in Chromium: axe.py AXE_JS URL

Chromium is driven by chromedriver (WebDriver), whose scripts a page's own Content Security Policy does not stop. The page is judged
light and dark, wide and as narrow as a telephone. Prints a line for each; exit status 1 where axe-core finds a violation or the layout
has shifted.
"""

import json
import subprocess
import sys
import time
import urllib.request

# Shifts of what is drawn while the page loads and fills (https://web.dev/articles/cls: below 0.1 is good; ours does not move at all).
SHIFT = """
const done = arguments[arguments.length - 1]; let sum = 0;
new PerformanceObserver(list => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({type: 'layout-shift', buffered: true});
setTimeout(() => done(sum), 300);
"""
JUDGE = """
const done = arguments[arguments.length - 1];
axe.run().then(result => done(result.violations.map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', '))),
               error => done(['axe-core: ' + error]));
"""


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["value"]


def judge(driver, axe, url, scheme, width, height):
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"]
    if scheme == "dark":
        arguments.append("--blink-settings=preferredColorScheme=0")
    options = {"goog:chromeOptions": {"args": arguments}}
    session = driver + "/session/" + call("POST", driver + "/session", {"capabilities": {"alwaysMatch": options}})["sessionId"]
    try:
        call("POST", session + "/url", {"url": url})
        execute = lambda kind, script: call("POST", f"{session}/execute/{kind}", {"script": script, "args": []})
        for _ in range(200):
            if execute("sync", "return document.getElementById('ready')?.textContent") == "ready":
                break
            time.sleep(0.05)
        else:
            return ["the page is never filled"]
        shift = execute("async", SHIFT)
        execute("sync", axe)
        found = execute("async", JUDGE)
        if shift:
            found.append(f"layout shift {shift}")
        return found
    finally:
        call("DELETE", session)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        axe = file.read()
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(line.split()[-1].rstrip(".") for line in driver.stdout if "started successfully on port" in line)
        failed = False
        for scheme, width, height in [("light", 1280, 900), ("dark", 1280, 900), ("light", 390, 844), ("dark", 390, 844)]:
            found = judge(f"http://127.0.0.1:{port}", axe, sys.argv[2], scheme, width, height)
            print(f"{scheme} {width}: " + ("; ".join(found) or "no violation"))
            failed = failed or bool(found)
        sys.exit(failed)
    finally:
        driver.terminate()
        driver.wait()


main()
