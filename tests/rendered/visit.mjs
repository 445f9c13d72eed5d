// Opens a page in Chromium and prints, as JSON, what a reader would see and what the page did.
//
//     node visit.mjs PAGE FOLDER
//
// FOLDER gets light.png and dark.png. CHROMIUM names the browser, NODE_PATH's playwright-core
// drives it.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = createRequire(path.join(process.env.PLAYWRIGHT, "x.js"))("playwright-core");
const [file, folder] = process.argv.slice(2);
const address = pathToFileURL(file).href;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const page = await browser.newPage({ viewport: { width: 1100, height: 1000 } });
const seen = { requests: [], dialogs: [], messages: [], shades: {} };
page.on("request", request => seen.requests.push(request.url() === address ? "page" : request.url()));
page.on("console", message => seen.messages.push(message.text()));
page.on("pageerror", error => seen.messages.push(String(error)));
page.on("dialog", dialog => { seen.dialogs.push(dialog.message()); dialog.dismiss(); });

await page.goto(address);
for (const scheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme: scheme });
  seen.shades[scheme] = await page.evaluate(() => {
    const style = getComputedStyle(document.body);
    return [style.backgroundColor, style.color];
  });
  await page.screenshot({ path: path.join(folder, `${scheme}.png`), fullPage: true });
}
seen.text = await page.evaluate(() => document.body.innerText);
seen.wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

// The first table, as it is, and after one and two clicks on each of its heads.
const column = number => page.evaluate(
  at => [...document.querySelector("table").tBodies[0].rows].map(row => row.cells[at].innerText),
  number,
);
seen.orders = {};
const heads = page.locator("table").first().locator("th button");
for (let at = 0; at < await heads.count(); at += 1) {
  const orders = [];
  for (let click = 0; click < 2; click += 1) {
    await heads.nth(at).click();
    orders.push(await column(at));
  }
  seen.orders[await heads.nth(at).innerText()] = orders;
}
console.log(JSON.stringify(seen));
await browser.close();
