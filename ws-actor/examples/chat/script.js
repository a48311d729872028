"use strict";
// The wire: one JSON object a message, told apart by "type".
//   to the server:   join {name, room} · leave {} · say {text}
//   from the server: rooms {rooms: [{name, people}]} · joined {name, room, members} · left {}
//                    enter {name, members} · exit {name, members} · said {name, text, at} · error {text}
// What other people wrote reaches the page as textContent only, never as markup.
const $ = id => document.getElementById(id);
const backoff = { least: 250, most: 20000, stable: 10000 };
let socket, attempt = 0, timer, wanted = null, me = null, last = null;

function connect() {
  clearTimeout(timer);
  const ws = socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws");
  let opened = 0;
  ws.onopen = () => { opened = Date.now(); state(true); if (wanted) send({ type: "join", ...wanted }); };
  ws.onmessage = event => { const message = JSON.parse(event.data); on[message.type]?.(message); };
  ws.onclose = () => {
    state(false);
    // Full jitter: a random part of a span that doubles, so that a restarted server is not met by all at once.
    if (opened && Date.now() - opened > backoff.stable) attempt = 0;
    const span = Math.min(backoff.most, backoff.least * 2 ** attempt++);
    timer = setTimeout(connect, Math.random() * span);
  };
}
addEventListener("online", () => { if (socket?.readyState === WebSocket.CLOSED) { attempt = 0; connect(); } });

function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

const on = {
  rooms: ({ rooms }) => $("rooms").replaceChildren(...rooms.map(({ name, people }) => {
    const button = element("button", "quiet", name);
    button.type = "button";
    button.append(element("b", "", String(people)));
    button.onclick = () => { $("room").value = name; ($("name").value ? $("join") : $("name")).focus(); };
    return button;
  })),
  joined: ({ name, room, members }) => {
    const again = me !== null;
    me = name;
    show("chat");
    $("title").textContent = room;
    document.title = `${room} · Rooms`;
    people(members);
    note(again ? "You are back." : `You are ${name}. Say hello!`);
    $("text").focus();
  },
  enter: ({ name, members }) => { people(members); note(`${name} joined`); },
  exit: ({ name, members }) => { people(members); note(`${name} left`); },
  said: ({ name, text, at }) => {
    const line = element("li", name === me ? "mine" : ""), who = element("div", "who", name);
    const time = element("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    who.append(time);
    who.style.setProperty("--hue", hue(name));
    if (last === name) line.classList.add("same");
    line.append(who, element("div", "what", text));
    append(line);
    last = name;
  },
  left: () => lobby(""),
  error: ({ text }) => { if (wanted && me === null) lobby(text); else note(text); },
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
function append(line) {
  const list = $("messages"), low = list.scrollHeight - list.scrollTop - list.clientHeight < 120;
  list.append(line);
  while (list.children.length > 500) list.firstChild.remove();
  if (low) list.scrollTop = list.scrollHeight;
}
function note(text) { append(element("li", "note", text)); last = null; }
function people(members) {
  $("count").textContent = members.length === 1 ? "Just you" : `${members.length} here`;
  $("members").replaceChildren(...members.map(name => {
    const line = element("li", name === me ? "me" : "");
    line.dataset.initial = [...name][0].toUpperCase();
    line.style.setProperty("--hue", hue(name));
    line.title = name;
    line.append(element("span", "", name));
    return line;
  }));
}
function hue(name) {
  let sum = 7;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 360;
  return `light-dark(hsl(${sum} 65% 38%), hsl(${sum} 70% 70%))`;
}
function state(online) {
  $("status").dataset.state = online ? "online" : "offline";
  $("status").textContent = online ? "online" : "offline, trying again";
  $("send").disabled = !online;
  if (!online && me !== null && $("messages").lastChild?.dataset.lost !== "1") {
    note("The connection is lost. It comes back by itself.");
    $("messages").lastChild.dataset.lost = "1";
  }
}
function show(view) { $("lobby").hidden = view !== "lobby"; $("chat").hidden = view !== "chat"; }
function lobby(error) {
  wanted = me = last = null;
  $("messages").replaceChildren();
  $("error").textContent = error;
  document.title = "Rooms";
  show("lobby");
  $("name").focus();
}

$("lobby").onsubmit = event => {
  event.preventDefault();
  wanted = { name: $("name").value.trim(), room: $("room").value.trim() };
  if (!wanted.name || !wanted.room) { wanted = null; return; }
  $("error").textContent = "";
  if (!send({ type: "join", ...wanted })) $("error").textContent = "Not connected yet; you join as soon as the server answers.";
};
$("say").onsubmit = event => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text && send({ type: "say", text })) $("text").value = "";
};
$("leave").onclick = () => { if (!send({ type: "leave" })) lobby(""); };
connect();
