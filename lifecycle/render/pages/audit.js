(() => {
  "use strict";
  const table = document.getElementById("findings");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const tools = document.getElementById("tools"), told = document.getElementById("told");
  const text = document.getElementById("text"), severity = document.getElementById("severity");
  const fresh = document.getElementById("fresh");
  const haystack = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const order = new Map(rows.map((row, place) => [row, place]));
  const show = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = words.every((word) => haystack.get(row).includes(word)) &&
        (!severity.value || row.dataset.severity === severity.value) && (!fresh.checked || "fresh" in row.dataset);
      row.hidden = !fits;
      shown += fits;
    }
    told.textContent = shown === rows.length ? `${rows.length} shown` : `${shown} of ${rows.length} shown`;
  };
  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const sort = (column, direction) => {
    heads.forEach((head, place) => place === column ? head.setAttribute("aria-sort", direction)
      : head.removeAttribute("aria-sort"));
    const sign = direction === "ascending" ? 1 : -1;
    const compare = new Intl.Collator(undefined, {numeric: true}).compare;
    rows.sort((a, b) => sign * compare(key(a, column), key(b, column)) || order.get(a) - order.get(b));
    body.append(...rows);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () =>
      sort(column, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending"));
  });
  tools.hidden = false;
  tools.addEventListener("submit", (event) => event.preventDefault());
  for (const field of [text, severity, fresh]) field.addEventListener("input", show);
  show();
})();
