// Opens a page in Chromium, calls one of its functions and prints the lines that the page tells.
//
// Arguments: the page, the function, what it is given, and where the last picture of the page goes. A line on standard input
// lets a page go on that waits.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

const { chromium } = createRequire(`${process.env.NODE_PEERS}/`)('playwright-core');
const [page, action, argument, picture] = process.argv.slice(2);

const places = process.env.PATH.split(delimiter).map((place) => join(place, 'chromium'));
const browser = await chromium.launch({
  executablePath: places.find(existsSync),
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--disable-quic',
  ],
  timeout: 30_000,
});
try {
  // The certificate of the test is signed by nobody that a browser knows.
  const tab = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  // What the browser itself complains about is of the kind `error`.
  tab.on('console', (message) => message.type() === 'log' && console.log(message.text()));
  await tab.goto(page);
  createInterface(process.stdin).on('line', () => tab.evaluate('window.go()'));
  await tab.evaluate(([action, argument]) => window.eval(action)(argument), [action, argument]);
  if (picture) await tab.screenshot({ path: picture });
  console.log('done');
} finally {
  await browser.close();
}
process.exit();
