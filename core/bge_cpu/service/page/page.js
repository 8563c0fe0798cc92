"use strict";

const at = (id) => document.getElementById(id);
const form = at("form");

function say(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

function made(tag, name, text = "") {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text; // never as HTML: documents may hold any
  return node;
}

function headers() {
  const key = at("key").value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function show(results, documents) {
  const items = results.map(({ index, relevance_score: score, truncated_tokens: cut }) => {
    const item = document.createElement("li");
    const measure = made("div", "measure");
    const track = made("div", "track");
    const bar = made("div", "bar");
    bar.style.width = `${100 * (score ?? 0)}%`;
    track.append(bar);
    measure.append(track, made("span", "score", score === null ? "–" : score.toFixed(4)));
    const place = `document ${index + 1}` + (cut ? `, ${cut} tokens cut off` : "");
    item.append(made("p", "text", documents[index]), measure, made("span", "place", place));
    return item;
  });
  at("results").replaceChildren(...items);
}

async function rank() {
  const query = at("query").value;
  const documents = at("documents").value.split("\n").filter((line) => line.trim());
  at("rank").disabled = true;
  say("Ranking …");
  const started = performance.now();
  try {
    const answer = await fetch("/v2/rerank", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers() },
      body: JSON.stringify({ query, documents }),
    });
    const content = await answer.json();
    if (answer.status === 401) at("key-row").hidden = false;
    if (!answer.ok) throw new Error(content.message);
    show(content.results, documents);
    const seconds = ((performance.now() - started) / 1000).toFixed(2);
    say(`${documents.length} documents, ${content.usage.total_tokens} tokens, ${seconds} s`);
  } catch (error) {
    at("results").replaceChildren();
    say(error.message, true);
    if (!at("key-row").hidden && !at("key").value) at("key").focus();
  } finally {
    at("rank").disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  rank();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !at("rank").disabled) {
    event.preventDefault();
    form.requestSubmit();
  }
});

fetch("/info").then(async (answer) => {
  if (answer.status === 401) at("key-row").hidden = false;
  if (!answer.ok) return;
  const { model, mode, max_length: length } = await answer.json();
  at("about").textContent = `${model}, ${mode}, up to ${length} tokens per pair`;
}).catch(() => {});
