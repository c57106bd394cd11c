// SPDX-License-Identifier: Apache-2.0
// Shows the OpenAPI document of this server. Text only ever goes in as text: nothing in it can become markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function resolve(root, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key.replace(/~1/g, "/").replace(/~0/g, "~")], root);
}

function example(root, given, depth) {
  const schema = resolve(root, given) || {};
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (depth > 6) return null;
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([key, value]) => [key, example(root, value, depth + 1)]));
  }
  if (type === "array") return [example(root, schema.items, depth + 1)];
  return { string: "text", integer: 0, number: 0, boolean: false, object: {} }[type] ?? null;
}

function content(root, title, part) {
  return Object.entries(part.content || {}).flatMap(([type, media]) => [
    element("p", {}, title + " ", element("code", {}, type)),
    element("pre", {}, JSON.stringify(media.example ?? example(root, media.schema, 0), null, 2)),
  ]);
}

function parameters(root, list) {
  if (!list.length) return null;
  const rows = list.map((given) => resolve(root, given)).map((parameter) => element("tr", {},
    element("td", {}, element("code", {}, parameter.name)),
    element("td", {}, parameter.in + (parameter.required ? ", required" : "")),
    element("td", {}, [parameter.description, (resolve(root, parameter.schema) || {}).enum?.join(" | ")].filter(Boolean).join(" "))));
  return element("table", {}, ...rows);
}

function operation(root, path, method, described, shared) {
  const permission = described["x-permission"];
  const body = element("div", { class: "body" },
    described.description ? element("p", {}, described.description) : null,
    element("p", {}, "Needs: ", element("code", {}, permission || (described.security?.length === 0 ? "nothing" : "a token"))),
    parameters(root, [...shared, ...(described.parameters || [])]),
    ...(described.requestBody ? content(root, "Body:", resolve(root, described.requestBody)) : []));
  for (const [status, given] of Object.entries(described.responses || {})) {
    const response = resolve(root, given);
    const is_success = status.startsWith("2");
    body.append(element("p", {}, element("strong", {}, status), " " + response.description));
    if (is_success) body.append(...content(root, "Answer:", response));
  }
  return element("details", { "data-words": `${path} ${method} ${described.summary || ""} ${permission || ""}`.toLowerCase() },
    element("summary", {}, element("span", { class: "method" }, method), element("span", { class: "path" }, path),
      element("span", { class: "short" }, described.summary || "")),
    body);
}

function tableOf(title, rows) {
  const made = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("section", {}, element("h2", {}, title), element("table", {}, ...made));
}

function lifecycle(root) {
  const rows = Object.entries(root["x-tidegate-lifecycle"] || {}).map(([state, row]) => [
    element("code", {}, state), row.statuses.join(", "),
    Object.entries(row.leaves_to).map(([goal, why]) => `${goal}: ${why}`).join("; ") || "an end"]);
  return tableOf("The lifecycle of a release", rows);
}

function errors(root) {
  const rows = Object.entries(root["x-tidegate-errors"] || {}).map(([key, row]) => [
    element("code", {}, key), String(row.status), `${row.title}. ${row.hint}`]);
  return tableOf("Error keys", rows);
}

function show(root) {
  document.getElementById("about").textContent = root.info.description || "";
  const groups = new Map();
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(root, path, method, item[method], item.parameters || []));
    }
  }
  const sections = [...groups].map(([tag, list]) => element("section", {}, element("h2", {}, tag), ...list));
  document.getElementById("operations").replaceChildren(...sections, lifecycle(root), errors(root));
}

document.getElementById("find").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const shown of document.querySelectorAll("details")) {
    shown.hidden = !words.every((word) => shown.dataset.words.includes(word));
  }
});

fetch("openapi.json").then((answer) => answer.json()).then(show).catch((error) => {
  document.getElementById("operations").textContent = `The document cannot be read: ${error}`;
});
