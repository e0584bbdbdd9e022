// Draws pictures as pruning leaves them, from the JSON in #explorer-data. Offline, no library.
"use strict";
(() => {
  const views = JSON.parse(document.getElementById("explorer-data").textContent);
  const root = document.getElementById("explorer-app");
  const at = (name) => root.querySelector(`[data-is="${name}"]`);
  const GREY = [190, 190, 190], HOT = [230, 85, 13];
  const state = { model: 0, depth: 0, where: 0, method: 0, keep: null, site: 0, image: 0, heat: false, group: null };
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const unique = (values) => [...new Set(values)];
  let view, pixels = [], latest = 0, pending = false;

  for (const each of views)
    for (const method of each.methods)
      for (const row of method.rows) {
        row.owner = new Int16Array(bytes(row.owner).buffer);
        row.heat = row.heat && bytes(row.heat);
      }

  // The token of each patch of a picture after a site of the method; -1 where it is gone.
  const owners = (method, row, image, site) => {
    const t = view.grid ** 2, from = (image * method.sites.length + site) * t;
    return row.owner.subarray(from, from + t);
  };
  const percent = (value) => `${Math.round(100 * value)} %`;

  // A picture into a canvas: patches that are gone grey, those of one token in its mean colour, with its border.
  const draw = (canvas, method, row, image, site, heat, chosen) => {
    const { data, side } = pixels[image], grid = view.grid, edge = side / grid;
    const owner = owners(method, row, image, Math.min(site, method.sites.length - 1)), sums = new Map();
    const patch = (x, y) => Math.floor(y / edge) * grid + Math.floor(x / edge);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const token = owner[patch(x, y)];
        if (token < 0) continue;
        const sum = sums.get(token) || sums.set(token, [0, 0, 0, 0]).get(token);
        for (let c = 0; c < 3; c++) sum[c] += data[4 * (y * side + x) + c];
        sum[3] += 1;
      }
    const out = new ImageData(side, side);
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++) {
        const i = 4 * (y * side + x), p = patch(x, y), token = owner[p];
        const own = [data[i], data[i + 1], data[i + 2]], grey = (own[0] + own[1] + own[2]) / 3;
        let colour = own;
        if (token < 0) colour = GREY.map((c) => 0.12 * grey + 0.88 * c);
        else if (sums.get(token)[3] > edge * edge) colour = sums.get(token).slice(0, 3).map((c) => c / sums.get(token)[3]);
        if (heat && token >= 0) {
          const warm = row.heat[image * grid * grid + p] / 255;
          colour = HOT.map((c) => (1 - 0.85 * warm) * (0.35 * grey + 0.65 * 235) + 0.85 * warm * c);
        }
        for (let c = 0; c < 3; c++) out.data[i + c] = Math.round(colour[c]);
        out.data[i + 3] = 255;
      }
    const small = document.createElement("canvas"), pen = canvas.getContext("2d"), scale = canvas.width / grid;
    small.width = small.height = side;
    small.getContext("2d").putImageData(out, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, canvas.width, canvas.height);
    const merged = [...sums.values()].some((sum) => sum[3] > edge * edge);
    const line = (x, y, toX, toY, strong) => {
      for (const [colour, width] of [["#ffffff", strong ? 5 : 3], [strong ? "#d55e00" : "#1d2730", strong ? 3 : 1]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        pen.moveTo(x * scale, y * scale);
        pen.lineTo(toX * scale, toY * scale);
        pen.stroke();
      }
    };
    const borders = (wanted, strong) => {
      for (let y = 0; y < grid; y++)
        for (let x = 0; x < grid; x++) {
          const a = owner[y * grid + x], b = x + 1 < grid ? owner[y * grid + x + 1] : null;
          const c = y + 1 < grid ? owner[(y + 1) * grid + x] : null;
          if (wanted(a, b)) line(x + 1, y, x + 1, y + 1, strong);
          if (wanted(a, c)) line(x, y + 1, x + 1, y + 1, strong);
          if (strong && x === 0 && wanted(a, null)) line(0, y, 0, y + 1, strong);
          if (strong && y === 0 && wanted(a, null)) line(x, 0, x + 1, 0, strong);
        }
    };
    if (merged && canvas.width > 200) borders((a, b) => b !== null && a !== b, false);
    if (chosen !== null && chosen >= 0) borders((a, b) => a !== b && (a === chosen || b === chosen), true);
  };

  const fill = (select, names, chosen) => {
    select.replaceChildren(...names.map((name, i) => new Option(name, i, false, i === chosen)));
    select.closest("label").hidden = names.length < 2;
  };

  // Choices that later ones hang on: model, depth, place; then method, ratio, site.
  const choose = () => {
    const models = unique(views.map((each) => each.model));
    const of = views.filter((each) => each.model === models[state.model]);
    const depths = unique(of.map((each) => each.depth));
    state.depth = Math.min(state.depth, depths.length - 1);
    const here = of.filter((each) => each.depth === depths[state.depth]);
    state.where = Math.min(state.where, here.length - 1);
    const before = view && view.methods[state.method].name;
    const changed = view !== here[state.where];
    view = here[state.where];
    const known = view.methods.findIndex((each) => each.name === before);
    if (changed) state.method = Math.max(0, known);
    const { sites, rows } = view.methods[state.method];
    if (state.keep === null) state.keep = Math.floor(rows.length / 2); // to begin with, something is gone
    state.site = changed ? sites.length - 1 : Math.min(state.site, sites.length - 1);
    state.image = Math.min(state.image, view.pictures.length - 1);
    fill(at("model"), models, state.model);
    fill(at("depth"), depths.map((depth) => `${depth} blocks`), state.depth);
    fill(at("where"), here.map((each) => each.where), state.where);
    fill(at("method"), view.methods.map((each) => each.name), state.method);
    fill(at("site"), sites, state.site);
    return changed;
  };

  const answer = (row, image) => {
    if (row.answers[image] === undefined) return { text: "", right: null };
    const sure = row.probability ? ` ${percent(row.probability[image])}` : "";
    const right = view.truths ? row.answers[image] === view.truths[image] : null;
    return { text: `${view.classes[row.answers[image]]}${sure}`, right };
  };
  const colour = (right) => (right === null ? "" : right ? "right" : "wrong");
  const chosen = () => {
    const method = view.methods[state.method];
    return { method, row: method.rows[state.keep] };
  };

  // The site whose tokens are drawn: attention is of what is left in the end.
  const drawnSite = (method, row) => (state.heat && row.heat ? method.sites.length - 1 : state.site);

  // The large picture, and what is said of it.
  const paint = () => {
    const { method, row } = chosen(), warm = state.heat && Boolean(row.heat);
    const site = drawnSite(method, row);
    const owner = owners(method, row, state.image, site), most = row.most ? row.most[state.image] : 0;
    draw(at("canvas"), method, row, state.image, site, warm, state.group);
    const patches = state.group === null ? 0 : owner.filter((token) => token === state.group).length;
    at("token").textContent = patches ? `Marked: a token of ${patches === 1 ? "one patch" : `${patches} patches`}.` :
      warm ? (most > 0 ? `Attention in the last block, a token's shared by its patches; the warmest patch has ${(100 * most).toFixed(1)} %.` :
        "Tokens leave after the last attention: there is none to show.") : "";
  };

  const show = () => {
    state.keep = Math.min(state.keep, view.methods[state.method].rows.length - 1);
    const { method, row } = chosen(), owner = owners(method, row, state.image, state.site), range = at("keep");
    range.max = method.rows.length - 1;
    range.value = state.keep;
    range.setAttribute("aria-valuetext", `keep ${row.keep}`);
    at("kept").textContent = row.keep;
    at("heat").disabled = !row.heat;
    at("heat").checked = state.heat;
    const said = answer(row, state.image), total = owner.length;
    const truth = view.truths ? `, it is ${view.classes[view.truths[state.image]]}` : "";
    const left = row.count ? `${row.count[state.image][state.site]} of ${total} tokens are left` :
      `${owner.filter((token) => token >= 0).length} of ${total} patches are in some token`;
    at("says").textContent = `${method.name}, keep ${row.keep}: ${left} ${method.sites[state.site]}. ` +
      (said.text ? `The model says ${said.text}${truth}.` : "It has no classifier.");
    at("says").className = colour(said.right);
    at("canvas").setAttribute("aria-label", at("says").textContent);
    paint();
    at("pictures").querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", i === state.image));
    at("all").replaceChildren(...view.methods.map((each, i) => {
      const other = each.rows.find((found) => found.keep === row.keep);
      const button = document.createElement("button"), tile = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-pressed", i === state.method);
      button.disabled = !other;
      tile.width = tile.height = 112;
      if (other) draw(tile, each, other, state.image, state.site, state.heat && Boolean(other.heat), null);
      const verdict = other ? answer(other, state.image) : { text: "not measured", right: null };
      const name = document.createElement("b"), text = document.createElement("small");
      name.textContent = each.name;
      text.textContent = (verdict.right === false ? "× " : "") + verdict.text;
      text.className = colour(verdict.right);
      button.append(tile, name, text);
      button.addEventListener("click", () => set({ method: i, keep: each.rows.indexOf(other) }));
      return button;
    }));
    at("all").hidden = at("all-title").hidden = view.methods.length < 2;
  };

  const load = (source) => new Promise((done) => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
      canvas.width = canvas.height = image.width;
      pen.drawImage(image, 0, 0);
      done({ data: pen.getImageData(0, 0, image.width, image.width).data, side: image.width });
    };
    image.src = source;
  });

  const set = async (change) => {
    Object.assign(state, { group: null }, change);
    if (choose()) {
      pending = true;
      const turn = ++latest, loaded = await Promise.all(view.pictures.map(load));
      if (turn !== latest) return; // another model or place was chosen meanwhile
      pixels = loaded;
      pending = false;
      at("pictures").replaceChildren(...view.pictures.map((source, i) => {
        const button = document.createElement("button"), image = new Image();
        button.type = "button";
        image.src = source;
        image.alt = view.truths ? view.classes[view.truths[i]] : "the picture";
        image.title = image.alt;
        button.append(image);
        button.addEventListener("click", () => set({ image: i }));
        return button;
      }));
      at("pictures").hidden = view.pictures.length < 2;
    } else if (pending) return; // shown once the pictures are there
    show();
    root.dataset.ready = "yes";
  };

  const step = (name, by, count) => set({ [name]: (state[name] + by + count) % count });
  const clamped = (by) => set({ keep: Math.max(0, Math.min(view.methods[state.method].rows.length - 1, state.keep + by)) });
  const keys = {
    ArrowLeft: () => step("image", -1, view.pictures.length),
    ArrowRight: () => step("image", 1, view.pictures.length),
    ArrowUp: () => clamped(-1),
    ArrowDown: () => clamped(1),
    m: () => step("method", 1, view.methods.length),
    s: () => step("site", 1, view.methods[state.method].sites.length),
    h: () => !at("heat").disabled && set({ heat: !state.heat }),
  };
  const canvas = at("canvas");
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const mark = (event) => {
    const box = canvas.getBoundingClientRect(), grid = view.grid;
    const x = Math.floor((event.clientX - box.left) / box.width * grid), y = Math.floor((event.clientY - box.top) / box.height * grid);
    const inside = x >= 0 && y >= 0 && x < grid && y < grid, { method, row } = chosen();
    const token = inside ? owners(method, row, state.image, drawnSite(method, row))[y * grid + x] : -1;
    const group = token < 0 ? null : token;
    if (group === state.group || pending) return;
    state.group = group;
    paint();
  };
  canvas.addEventListener("pointermove", mark);
  canvas.addEventListener("pointerdown", mark);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "mouse" || pending) return;
    state.group = null;
    paint();
  });
  for (const name of ["model", "depth", "where", "method", "site"])
    at(name).addEventListener("change", (event) => set({ [name]: Number(event.target.value) }));
  at("keep").addEventListener("input", (event) => set({ keep: Number(event.target.value) }));
  at("heat").addEventListener("change", (event) => set({ heat: event.target.checked }));
  root.hidden = false;
  set({});
})();
