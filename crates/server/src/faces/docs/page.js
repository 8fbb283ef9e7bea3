// Shows /openapi.json. Text goes in as text, never as markup.
"use strict";

const METHODS = ["get", "put", "post", "patch", "delete"];

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  for (const child of children.flat()) if (child !== null && child !== undefined) made.append(child);
  return made;
}

// Words between back-quotes are code.
function prose(text) {
  return (text || "").split("`").map((part, n) => (n % 2 ? element("code", {}, part) : part));
}

function resolve(spec, thing) {
  if (!thing || !thing.$ref) return thing || {};
  return thing.$ref.replace("#/", "").split("/").reduce((at, step) => (at || {})[step], spec) || {};
}

function typeOf(spec, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const either = schema.oneOf || schema.anyOf;
  if (either) return either.map((s) => typeOf(spec, s)).filter((t) => t && t !== "null").join(" or ");
  const types = [].concat(schema.type || []).filter((t) => t !== "null");
  if (types.includes("array")) return `list of ${typeOf(spec, schema.items) || "anything"}`;
  const inside = schema.additionalProperties;
  if (types.includes("object") && inside && inside !== true) return `map of ${typeOf(spec, inside)}`;
  return schema.enum ? schema.enum.join(" | ") : types.join(" or ") || "anything";
}

// A value as it might look, from the examples in the description and else from the types.
function sample(spec, schema, depth = 0) {
  const s = resolve(spec, schema);
  if (s.example !== undefined) return s.example;
  if (s.examples && s.examples.length) return s.examples[0];
  if (s.default !== undefined) return s.default;
  if (s.enum) return s.enum[0];
  if (s.oneOf || s.anyOf) {
    const first = (s.oneOf || s.anyOf).find((one) => one.type !== "null");
    return sample(spec, first, depth);
  }
  if (s.allOf) return Object.assign({}, ...s.allOf.map((one) => sample(spec, one, depth)));
  const type = [].concat(s.type || []).find((t) => t !== "null");
  if (type === "object") {
    if (depth > 3) return {};
    const fields = Object.entries(s.properties || {});
    return Object.fromEntries(fields.map(([name, field]) => [name, sample(spec, field, depth + 1)]));
  }
  if (type === "array") return depth > 3 ? [] : [sample(spec, s.items, depth + 1)];
  return { integer: s.minimum || 0, number: 0, boolean: false, string: "…" }[type] ?? null;
}

function table(heads, rows) {
  const head = element("tr", {}, heads.map((h) => element("th", {}, h)));
  const body = rows.map((cells) => element("tr", {}, cells.map((c) => element("td", {}, c))));
  return element("div", { class: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, body)));
}

function named(name, needed) {
  return [element("code", {}, name), needed ? element("span", { class: "needed" }, " needed") : null];
}

function fields(spec, schema) {
  const s = resolve(spec, schema);
  const needed = s.required || [];
  const rows = Object.entries(s.properties || {}).map(([name, field]) => [
    named(name, needed.includes(name)),
    element("code", {}, typeOf(spec, field)),
    prose(field.description || resolve(spec, field).description),
  ]);
  return rows.length ? table(["Field", "Type", "What"], rows) : null;
}

function json(value) {
  return element("pre", {}, JSON.stringify(value, null, 2));
}

function exampleOf(spec, media) {
  if (media.example !== undefined) return media.example;
  const all = Object.values(media.examples || {});
  return all.length ? all[0].value : sample(spec, media.schema);
}

function content(spec, body) {
  return Object.entries((body && body.content) || {}).flatMap(([type, media]) => {
    const structured = type.includes("json");
    const several = Object.entries(media.examples || {});
    const shown = several.length
      ? several.flatMap(([name, one]) => [element("p", {}, prose(one.summary || name)), json(one.value)])
      : [json(exampleOf(spec, media))];
    return [
      element("p", {}, element("code", {}, type), " ", element("code", {}, typeOf(spec, media.schema))),
      ...(structured ? [...shown, fields(spec, media.schema)] : []),
    ];
  });
}

function curl(spec, method, path, operation) {
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  words.push(`'${location.origin}${path}'`);
  if (operation.security === undefined || operation.security.some((s) => Object.keys(s).length)) {
    words.push("\\\n  -H \"Authorization: Bearer $LIBRA_TOKEN\"");
  }
  const body = (operation.requestBody || {}).content || {};
  if (body["application/json"]) {
    const text = JSON.stringify(exampleOf(spec, body["application/json"])).replaceAll("'", "'\\''");
    words.push("\\\n  -H 'Content-Type: application/json'", `\\\n  -d '${text}'`);
  } else if (Object.keys(body).length) {
    words.push("\\\n  --data-binary @FILE");
  }
  return element("pre", {}, words.join(" "));
}

function call(spec, path, method, operation, shared) {
  const parameters = [...shared, ...(operation.parameters || [])].map((p) => resolve(spec, p));
  const body = resolve(spec, operation.requestBody);
  const parts = [element("p", {}, prose(operation.summary)), element("p", {}, prose(operation.description))];
  if (parameters.length) {
    const rows = parameters.map((p) => [
      named(p.name, p.required),
      p.in,
      element("code", {}, typeOf(spec, p.schema)),
      prose(p.description),
    ]);
    parts.push(element("h3", {}, "Parameters"), table(["Name", "Where", "Type", "What"], rows));
  }
  if (body.content) parts.push(element("h3", {}, "Body"), ...content(spec, body));
  parts.push(element("h3", {}, "Try it"), curl(spec, method, path, operation));
  for (const [status, answer] of Object.entries(operation.responses || {})) {
    const a = resolve(spec, answer);
    parts.push(element("h3", {}, `${status} `), element("p", {}, prose(a.description)));
    // Problems look alike: their description says which.
    if (Number(status) < 400) parts.push(...content(spec, a));
  }
  // The first sentence tells one call from the others; the whole text is inside.
  const whole = operation.summary || "";
  const about = (whole.match(/^[^]*?[.:](?=\s|$)/) || [whole])[0].replace(/[.:]$/, "");
  const summary = element(
    "summary",
    {},
    element("span", { class: `method ${method}` }, method.toUpperCase()),
    element("code", {}, path),
    element("span", { class: "about" }, " – ", prose(about)),
  );
  const details = element("details", { id: operation.operationId || `${method}${path}` }, summary);
  // Filled when it is opened: most are not.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(element("div", { class: "body" }, parts));
  });
  details.dataset.words = `${method} ${path} ${whole} ${operation.description || ""}`.toLowerCase();
  return details;
}

function show(spec) {
  document.title = `${spec.info.title} ${spec.info.version} API`;
  document.getElementById("about").replaceChildren(...prose(spec.info.description));
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, { about: tag.description, calls: [] }]));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((m) => item[m])) {
      const operation = item[method];
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, { about: "", calls: [] });
      groups.get(tag).calls.push(call(spec, path, method, operation, item.parameters || []));
    }
  }
  const sections = [];
  for (const [name, group] of groups) {
    if (!group.calls.length) continue;
    const id = `group-${name.replaceAll(" ", "-")}`;
    const title = element("h2", { id }, name, element("small", {}, prose(group.about)));
    sections.push(element("section", {}, title, group.calls));
    document.getElementById("groups").append(element("a", { href: `#${id}` }, name));
  }
  document.getElementById("calls").replaceChildren(...sections);
  document.getElementById("search").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of sections) {
      const calls = [...section.querySelectorAll("details")];
      for (const one of calls) one.hidden = !words.every((word) => one.dataset.words.includes(word));
      section.hidden = calls.every((one) => one.hidden);
    }
  });
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`))))
  .then(show)
  .catch((error) => {
    document.getElementById("calls").replaceChildren(`/openapi.json can't be shown: ${error.message}`);
  });
