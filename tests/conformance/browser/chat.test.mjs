// The chat page in headless Chromium: two windows that talk to each other, as two people would use it.
//
// RINGIO_CHAT is the built chat example; without it the Node stand-in serves the same page. Screenshots go to
// artifacts/, for a person to look at.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { PATIENCE_MS } from "../harness/inbox.mjs";
import { cannotRun, ServerUnderTest, targets } from "../harness/server.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARTIFACTS = fileURLToPath(new URL("../artifacts/", import.meta.url));
const REFERENCE = fileURLToPath(new URL("../chat-reference.mjs", import.meta.url));
const DESKTOP = { width: 1200, height: 760 };
const PHONE = { width: 390, height: 780 };

const missing = !existsSync(CHROMIUM) && cannotRun(`${CHROMIUM} is not there: apt-get install chromium, or set CHROMIUM`);
mkdirSync(ARTIFACTS, { recursive: true });

for (const target of targets({ program: process.env.RINGIO_CHAT, reference: REFERENCE })) {
  describe(`chat page [${target.name}]`, { skip: missing, timeout: 600_000 }, () => {
    const server = new ServerUnderTest(target);
    const shot = (name) => `${ARTIFACTS}chat-${target.name.replace("/", "-")}-${name}.png`;
    let browser;

    before(async () => {
      await server.start();
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        timeout: PATIENCE_MS,
      });
    });
    after(async () => {
      await browser?.close();
      await server.stop();
    });

    /** A window of its own person: no storage shared, every complaint of the page collected. */
    async function person(name, { viewport = DESKTOP, room = "Lobby", colorScheme = "light" } = {}) {
      const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1 });
      context.setDefaultTimeout(PATIENCE_MS);
      const page = await context.newPage();
      const complaints = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
      await page.goto(`${server.url}/#${encodeURIComponent(room)}`);
      await page.getByLabel("Your name").fill(name);
      await page.getByRole("button", { name: "Join" }).click();
      await page.locator("#people li", { hasText: name }).waitFor({ state: "attached" });
      return { page, complaints, leave: () => context.close() };
    }

    const texts = (page) => page.locator(".message .text").allTextContents();
    const says = async (page, text) => {
      await page.getByLabel("Message", { exact: true }).fill(text);
      await page.keyboard.press("Enter");
    };
    const hears = (page, text) => page.locator(".message .text", { hasText: text }).last().waitFor();

    test("two people talk, see each other come, type and go", async () => {
      const ada = await person("Ada");
      await ada.page.locator(".empty").waitFor();
      await ada.page.screenshot({ path: shot("empty") });
      const grace = await person("Grace Hopper");

      // Presence, on both sides.
      await ada.page.locator(".notice", { hasText: "Grace Hopper came in" }).waitFor();
      for (const { page } of [ada, grace]) {
        await page.locator("#count", { hasText: "2 here" }).waitFor();
        assert.deepEqual(await page.locator("#people li span:nth-child(2)").allTextContents(), ["Ada", "Grace Hopper"]);
        await page.locator("#state", { hasText: "connected over WebSocket" }).waitFor();
      }

      // Typing, seen by the other only, and gone when the message is there.
      // She is waited for from before on: a pause ends it.
      const seen = grace.page.getByText("Ada is typing").waitFor();
      await ada.page.getByLabel("Message", { exact: true }).pressSequentially("Hello, is anybody");
      await seen;
      assert.equal(await ada.page.locator("#typing.on").count(), 0);
      await grace.page.screenshot({ path: shot("typing") });
      await says(ada.page, "Hello, is anybody there?");
      await hears(grace.page, "Hello, is anybody there?");
      await grace.page.locator("#typing:not(.on)").waitFor({ state: "attached" });

      // Talk: the same messages in the same order in both windows, and nothing of them is HTML.
      const talk = [
        [grace, "Yes! I came by WebSocket, through a ring."],
        [grace, "Which shard are you on?"],
        [ada, "No idea, and I like that."],
        [ada, "<b>not bold</b> & “quotes” – grüße"],
        [grace, "👋"],
      ];
      for (const [{ page }, text] of talk) {
        await says(page, text);
        await hears(ada.page, text);
        await hears(grace.page, text);
      }
      const expected = ["Hello, is anybody there?", ...talk.map(([, text]) => text)];
      assert.deepEqual(await texts(ada.page), expected);
      assert.deepEqual(await texts(grace.page), expected);
      assert.equal(await ada.page.locator(".text b").count(), 0);
      await ada.page.screenshot({ path: shot("desktop") });

      // A third, on a phone and in the dark, finds the history.
      const linus = await person("Linus", { viewport: PHONE, colorScheme: "dark" });
      await hears(linus.page, "👋");
      assert.deepEqual(await texts(linus.page), expected);
      await says(linus.page, "Hello from a phone. Long messages wrap, and averyveryverylongwordwithoutanyspacesinitthatgoesonandon too.");
      await hears(ada.page, "Hello from a phone");
      await linus.page.locator("#state", { hasText: "connected over WebSocket" }).waitFor();
      const tooWide = await linus.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(tooWide, 0, "the page is wider than the phone");
      const send = await linus.page.getByLabel("Send").boundingBox();
      assert.ok(send.x + send.width <= PHONE.width && send.y + send.height <= PHONE.height, "the send button is off the screen");
      await linus.page.screenshot({ path: shot("phone") });
      await linus.page.getByRole("button", { name: "3 here" }).click();
      await linus.page.locator("#people li", { hasText: "Grace Hopper" }).waitFor();
      await linus.page.screenshot({ path: shot("phone-people") });
      await linus.page.locator("#log").click();
      await linus.page.locator("#people li", { hasText: "Grace Hopper" }).waitFor({ state: "hidden" });
      await linus.leave();
      await ada.page.locator(".notice", { hasText: "Linus left" }).waitFor();
      await ada.page.locator("#count", { hasText: "2 here" }).waitFor();

      assert.deepEqual([...ada.complaints, ...grace.complaints, ...linus.complaints], []);
      await ada.leave();
      await grace.leave();
    });

    test("rooms are separate, and can be changed and made", async () => {
      const [ada, grace] = [await person("Ada", { room: "Workshop" }), await person("Grace", { room: "Tea kitchen" })];
      await says(ada.page, "only in the workshop");
      await hears(ada.page, "only in the workshop");
      await says(grace.page, "only in the kitchen");
      await hears(grace.page, "only in the kitchen");
      assert.deepEqual(await texts(ada.page), ["only in the workshop"]);
      assert.deepEqual(await texts(grace.page), ["only in the kitchen"]);

      await grace.page.getByRole("button", { name: "Workshop" }).click();
      await hears(grace.page, "only in the workshop");
      assert.deepEqual(await texts(grace.page), ["only in the workshop"]);
      await ada.page.locator("#count", { hasText: "2 here" }).waitFor();

      await ada.page.getByLabel("Another room").fill("Garden");
      await ada.page.keyboard.press("Enter");
      await ada.page.getByRole("heading", { name: "Garden" }).waitFor();
      await ada.page.locator("#count", { hasText: "only you" }).waitFor();
      await grace.page.locator(".notice", { hasText: "Ada left" }).waitFor();
      assert.deepEqual([...ada.complaints, ...grace.complaints], []);
      await ada.leave();
      await grace.leave();
    });

    test("a long talk scrolls, and who reads back is left in peace", async () => {
      const [ada, grace] = [await person("Ada", { room: "Long", viewport: PHONE }), await person("Grace", { room: "Long" })];
      for (let number = 1; number <= 30; number += 1) await says(grace.page, `message ${number} of a long talk`);
      await hears(ada.page, "message 30");
      const isAtEnd = () => ada.page.locator("#log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2);
      assert.ok(await isAtEnd());
      await ada.page.locator("#log").evaluate((log) => (log.scrollTop = 0));
      await says(grace.page, "and one more");
      await ada.page.getByRole("button", { name: "New messages" }).click();
      assert.ok(await isAtEnd());
      await ada.page.screenshot({ path: shot("long") });
      await ada.leave();
      await grace.leave();
    });

    test("the page finds its room again when the server was away", async () => {
      const ada = await person("Ada", { room: "Away" });
      await server.kill();
      await ada.page.locator("#state", { hasText: "connecting again" }).waitFor();
      await server.start();
      await ada.page.locator("#state", { hasText: "connected over WebSocket" }).waitFor();
      const grace = await person("Grace", { room: "Away" });
      await says(grace.page, "welcome back");
      await hears(ada.page, "welcome back");
      await ada.leave();
      await grace.leave();
    });
  });
}
