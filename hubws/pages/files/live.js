// What all pages share: a connection that comes back by itself, and says so in words.

const FIRST_PAUSE = 500, LONGEST_PAUSE = 15000; // between two attempts, in milliseconds
const FINAL = new Set([1003, 1008, 1010]);      // close codes with which the server means "don't come back"

/**
 * A WebSocket that is opened again when it is lost, after pauses that grow and differ.
 *
 * url:       asked for before each attempt
 * onOpen, onMessage(object), onLost(code): what happens, each once
 * onState(state, words): "open", "waiting" or "off", to be shown
 * before:    an async function to be done before another attempt
 * silence:   after so many milliseconds without a message the connection counts as lost
 */
export class Live {
  #socket = null;
  #timer = 0;
  #watch = 0;
  #failures = 0;
  #is = {};

  constructor({url, onOpen, onMessage, onLost, onState, before, silence}) {
    this.#is = {url, onOpen, onMessage, onLost, onState, before, silence};
    const retry = () => { if (this.#timer && this.#failures) this.#connect(); };
    addEventListener("online", retry);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) retry(); });
  }

  get isOpen() { return this.#socket?.readyState === WebSocket.OPEN; }

  start() {
    this.stop();
    this.#connect();
  }

  /** Leave; `last` is sent before that. */
  stop(last) {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    const left = this.#socket;
    this.#timer = this.#failures = 0;
    this.#socket = null;
    if (left?.readyState === WebSocket.CONNECTING) left.onopen = () => left.close(); // sooner is an error
    else if (left?.readyState === WebSocket.OPEN && last) left.send(JSON.stringify(last));
    else left?.close();
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket = new WebSocket(webSocketUrl(this.#is.url()));
    this.#is.onState?.("waiting", this.#failures ? "reconnecting…" : "connecting…");
    // Events of a socket that was left come late, and no longer matter.
    const mine = (act) => (event) => { if (this.#socket === socket) act(event); };
    socket.onopen = mine(() => {
      this.#heard();
      this.#is.onState?.("open", "connected");
      this.#is.onOpen?.();
    });
    socket.onmessage = mine(({data}) => {
      this.#failures = 0; // not before: a server that is full lets in, and closes
      this.#heard();
      this.#is.onMessage(JSON.parse(data));
    });
    socket.onclose = mine(({code, reason}) => this.#lost(code, reason));
  }

  #heard() {
    clearTimeout(this.#watch);
    const {silence} = this.#is, socket = this.#socket;
    if (silence) this.#watch = setTimeout(() => { socket.close(); this.#lost(1006, ""); }, silence);
  }

  #lost(code, reason) {
    clearTimeout(this.#watch);
    this.#socket = null;
    if (!this.#failures) this.#is.onLost?.(code);
    if (FINAL.has(code) || code >= 4000) {
      this.#is.onState?.("off", reason || `closed with ${code}`);
      return;
    }
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    // Said in words and once: a countdown would be read out every second.
    this.#is.onState?.("waiting", `reconnecting in ${Math.max(1, Math.round(pause / 1000))} s`);
    this.#timer = setTimeout(async () => {
      const due = this.#timer;
      try { await this.#is.before?.(); } catch { /* then the attempt fails, too */ }
      if (this.#timer === due) this.#connect();
    }, pause);
  }
}

/** The page's address, without the name and password that may stand in front of the host. */
const here = () => location.origin + location.pathname;

/** Ask for the page once more, which renews the cookie that lets its feed in. */
export const renew = () => fetch(here(), {method: "HEAD"});

/** The same place by ws, or by wss where the page came by https; relative to the page. */
function webSocketUrl(place) {
  const url = new URL(place, here());
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** The element with that id. */
export const byId = (id) => document.getElementById(id);

/** A new element with that text, which is never taken for HTML: others may have written it. */
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Set a text, if it is another one: what has not changed is not read out again. */
export function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Show a connection's state in the element for it. */
export function showState(line, state, words) {
  put(line, words);
  line.dataset.state = state;
}
