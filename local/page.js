// What `GET /state` says, shown; and what the buttons ask for. What did not change is left alone, so that audio plays on.
"use strict";

const ACTIONS = [["start", "Start"], ["pause", "Pause ALL"], ["resume", "Resume"], ["hang-up", "Hang up"], ["forge", "Forge a callback"]];
const COLOUR = { "in-progress": "good", completed: "good", paused: "wait", processing: "wait" };
const find = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const short = (sid) => make("code", { title: sid, textContent: sid ? `${sid.slice(0, 8)}…${sid.slice(-4)}` : "" });
const named = (status) => make("span", { className: `state ${COLOUR[status] ?? "bad"}`, textContent: status });
const heard = ({ heard_in: now, recordings }) =>
  make("span", { className: `state ${now ? "good" : "wait"}` }, recordings ? `in ${now} of ${recordings} recordings` : "in no recording");

// Each line keeps its elements; only those cells change whose value did.
function show(body, items, key, cells) {
  const known = new Map([...body.children].map((line) => [line.dataset.key, line]));
  items.forEach((item, index) => {
    let line = known.get(item[key]);
    if (!line) {
      line = make("tr");
      line.dataset.key = item[key];
    }
    known.delete(item[key]);
    if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
    cells(item).forEach(([value, fill], column) => {
      const text = JSON.stringify(value) ?? "";
      let cell = line.children[column];
      if (!cell) {
        cell = line.appendChild(make(column ? "td" : "th"));
        if (!column) cell.scope = "row";
      }
      if (cell.dataset.value !== text) {
        cell.dataset.value = text;
        cell.replaceChildren(fill());
      }
    });
  });
  known.forEach((line) => line.remove());
}

function buttons(call) {
  const live = call.status === "in-progress";
  const all = ACTIONS.map(([action, label]) => {
    const button = make("button", { type: "button", textContent: label, disabled: !live && action !== "forge" });
    button.setAttribute("aria-label", `${label}: call ${call.sid.slice(-4)}`);
    button.addEventListener("click", () => ask(button, `/calls/${call.sid}/${action}`));
    return button;
  });
  return make("div", {}, ...all);
}

function audioOf(row) {
  if (!row.archive) return document.createTextNode(row.status === "completed" ? "on its way" : "");
  const audio = make("audio", { controls: true, preload: "none", src: `/recordings/${row.recording_sid}/audio` });
  audio.setAttribute("aria-label", `Audio of recording ${row.recording_sid.slice(-4)}`);
  return audio;
}

function showEvents(events) {
  const list = find("events");
  events.slice(list.children.length).forEach((event) => {
    const { previous_status: before, status, recording_sid: sid } = event.detail;
    const change = before === undefined ? "" : `${before ?? "new"} → ${status} `;
    const line = make("summary", {}, `${event.time.slice(11, 19)} `, make("strong", { textContent: event["detail-type"] }), ` ${change}`);
    if (sid) line.append(short(sid));
    list.prepend(make("li", {}, make("details", {}, line, make("pre", { textContent: JSON.stringify(event.detail, null, 2) }))));
  });
  find("no-events").hidden = events.length > 0;
}

async function look() {
  try {
    const { calls, rows, events } = await (await fetch("/state")).json();
    show(find("calls"), calls, "sid", (call) => [
      [call.sid, () => short(call.sid)],
      [call.status, () => named(call.status)],
      [[call.heard_in, call.recordings], () => heard(call)],
      [call.status, () => buttons(call)],
    ]);
    show(find("rows"), rows, "recording_sid", (row) => [
      [row.recording_sid, () => short(row.recording_sid)],
      [row.call_sid, () => short(row.call_sid)],
      [row.status, () => named(row.status)],
      [row.duration_seconds, () => document.createTextNode(row.duration_seconds ?? "")],
      [row.requested_by, () => document.createTextNode(row.requested_by ?? "somebody else")],
      [[row.status === "completed", row.archive?.version_id], () => audioOf(row)],
    ]);
    find("no-rows").hidden = rows.length > 0;
    showEvents(events);
    find("lost").hidden = true;
  } catch {
    find("lost").hidden = false;
  }
}

async function ask(button, path) {
  button.disabled = true;
  try {
    const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
    const told = await response.json();
    if (told.asked) {
      find("answer").replaceChildren(
        make("p", {}, make("code", { textContent: told.asked }), " → ", make("span", { className: `state ${told.status < 400 ? "good" : "bad"}`, textContent: told.status })),
        make("pre", { textContent: JSON.stringify(told.answer, null, 2) }),
        make("details", {}, make("summary", { textContent: "What was sent" }), make("pre", { textContent: JSON.stringify(told.sent, null, 2) })),
      );
    }
  } catch {
    find("lost").hidden = false;
  }
  button.disabled = false;
  await look();
}

find("place").addEventListener("click", ({ currentTarget }) => ask(currentTarget, "/calls"));

(async () => {
  for (;;) {
    await look();
    await new Promise((done) => setTimeout(done, 1000));
  }
})();
