"""Style and script of the pages of `visualization.py`; both stand inside the page, nothing is loaded."""

# Lightness and chroma in OKLCH: the hue is the label's, so every label has the same contrast.
LIGHT = {
    "surface": (1.0, 0.0), "page": (0.97, 0.003), "ink": (0.24, 0.01), "muted": (0.47, 0.015),
    "rule": (0.88, 0.008), "tint": (0.94, 0.045), "strong": (0.58, 0.14), "label": (0.42, 0.12),
}  # fmt: skip
DARK = {
    "surface": (0.22, 0.01), "page": (0.18, 0.01), "ink": (0.93, 0.005), "muted": (0.74, 0.015),
    "rule": (0.36, 0.012), "tint": (0.33, 0.06), "strong": (0.68, 0.13), "label": (0.86, 0.09),
}  # fmt: skip
NEUTRAL_HUE = 255
OF_LABEL = ("tint", "strong", "label")


def _variables(scheme: dict[str, tuple[float, float]]) -> str:
    """CSS variables of a colour scheme; those of labels are made where the hue `--c` is set."""
    written = []
    for name, (lightness, chroma) in scheme.items():
        if name in OF_LABEL:
            written.append(f"--{name}-of:{lightness} {chroma}")
        else:
            written.append(f"--{name}:oklch({lightness} {chroma} {NEUTRAL_HUE})")
    return ";".join(written)


_COLOURS = f"""
.ldnet{{{_variables(LIGHT)};color-scheme:light}}
@media (prefers-color-scheme:dark){{.ldnet{{{_variables(DARK)};color-scheme:dark}}}}
[data-jp-theme-light=true] .ldnet,.vscode-light .ldnet{{{_variables(LIGHT)};color-scheme:light}}
[data-jp-theme-light=false] .ldnet,.vscode-dark .ldnet{{{_variables(DARK)};color-scheme:dark}}
@media print{{.ldnet{{{_variables(LIGHT)};color-scheme:light}}}}
"""

# What stands before a mark is of no width, cannot be left behind at the end of the line before (a no-break
# space), and gives the mark's line its room for arcs. Firefox closes and reopens all boxes around an isolate:
# there, labels are isolated only where the text runs from right to left.
_LAYOUT = """
.ldnet .h{--tint:oklch(var(--tint-of) var(--c));--strong:oklch(var(--strong-of) var(--c));
 --label:oklch(var(--label-of) var(--c))}
.ldnet,.ldnet *{box-sizing:border-box}
.ldnet{font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;color:var(--ink);
 background:var(--surface);text-align:start;overflow-wrap:anywhere;-webkit-print-color-adjust:exact;
 print-color-adjust:exact}
html:has(>body.ldnet){scrollbar-gutter:stable}
body.ldnet{margin:0;background:var(--page)}
.ldnet main{max-width:76rem;margin:0 auto;padding:1.25rem clamp(.6rem,3vw,2rem) 4rem}
.ldnet h1{font-size:1.35rem;line-height:1.3;margin:0 0 .15rem}
.ldnet h2{font-size:.85rem;font-weight:600;color:var(--muted);margin:0 0 .4rem}
.ldnet p{margin:0 0 .6rem}
.ldnet .muted,.ldnet .note{color:var(--muted);font-size:.85rem}
.ldnet .legend{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;margin:.6rem 0 .8rem;font-size:.85rem}
.ldnet .group{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .4rem;margin:0;padding:0;border:0;
 min-width:0}
.ldnet .group>span{color:var(--muted);margin-inline-end:.1rem}
.ldnet .key{display:inline-flex;align-items:center;gap:.3rem;padding:.05rem .5rem;border-radius:1rem;
 background:var(--tint);color:var(--label);border:1px solid var(--strong)}
.ldnet .key b{font-weight:600;font-variant-numeric:tabular-nums}
.ldnet .key input{display:none;margin:0;accent-color:var(--strong)}
.ldnet.js .key input{display:inline-block}
.ldnet.js .key{cursor:pointer}
.ldnet .key:has(input:focus-visible){outline:2px solid var(--strong);outline-offset:2px}
.ldnet .key:has(input:not(:checked)){background:none;border-style:dashed}
.ldnet .result{background:var(--surface);border:1px solid var(--rule);border-radius:.6rem;
 padding:.9rem clamp(.7rem,2vw,1.3rem);margin:0 0 .9rem}
body.ldnet .result{content-visibility:auto;contain-intrinsic-size:auto 12rem}
div.ldnet{padding:.6rem .8rem;border-radius:.6rem}
div.ldnet .result{border:0;padding:0;margin:0}
.ldnet .stage{position:relative}
.ldnet .text{white-space:pre-wrap;font-size:1.06rem;line-height:1.9;padding-bottom:.35rem}
.ldnet mark{color:inherit;background:var(--tint);border:1px solid var(--strong);border-bottom-width:3px;
 border-radius:.3em;padding:calc(.06em + var(--h)*.16em) .22em calc(.02em + var(--h)*.2em);
 line-height:calc(1.9em + var(--h)*.72em);-webkit-box-decoration-break:clone;box-decoration-break:clone}
.ldnet mark::after{content:attr(data-l);color:var(--label);font-size:.68em;font-weight:600;
 line-height:1;white-space:nowrap;margin-inline-start:.4em;unicode-bidi:isolate;
 -webkit-user-select:none;user-select:none}
.ldnet mark:not([data-l])::after{content:none}
@supports (-moz-appearance:none){.ldnet .text:dir(ltr) mark::after{unicode-bidi:normal}}
.ldnet mark.trigger{border-style:double;border-width:3px}
.ldnet mark.trigger::after{content:"◆ " attr(data-l)}
.ldnet mark.argument{background:none;border:0;border-bottom:2px dotted var(--muted);
 border-radius:0;padding-inline:0}
.ldnet mark.piece{border-inline-style:dashed}
.ldnet mark.from{border-start-start-radius:0;border-end-start-radius:0;border-inline-start-style:dotted}
.ldnet mark.on{border-start-end-radius:0;border-end-end-radius:0;border-inline-end-style:dotted}
.ldnet mark.off{background:none;border-color:transparent;padding-inline:0;border-inline-width:0}
.ldnet mark.off::after{content:none}
.ldnet mark.hot{outline:2px solid var(--strong);outline-offset:1px}
.ldnet mark:focus-visible,.ldnet .arc:focus-visible{outline:2px solid var(--ink);outline-offset:2px}
.ldnet mark::before{content:"\\a0";font-size:0;line-height:0}
.ldnet mark.lift::before{line-height:var(--lift);vertical-align:calc(var(--lift)/2)}
.ldnet .arcs{position:absolute;inset:0;width:100%;height:100%;overflow:visible;pointer-events:none}
.ldnet .arcs path{fill:none;stroke:var(--strong);stroke-width:1.5}
.ldnet .arcs .hit{stroke:transparent;stroke-width:9;pointer-events:stroke}
.ldnet .arcs .tie{stroke-dasharray:1.5 3;stroke-width:2;stroke-linecap:round}
.ldnet .arcs .dashed .line{stroke-dasharray:5 3}
.ldnet .arcs .tip-end{fill:var(--strong);stroke:none}
.ldnet .arcs text{font-size:11.5px;font-weight:600;text-anchor:middle;fill:var(--label);
 stroke:var(--surface);stroke-width:5px;stroke-linejoin:round;paint-order:stroke;pointer-events:all;cursor:default}
.ldnet .arcs.choosing .arc:not(.hot){opacity:.25}
.ldnet .arc.hot .line{stroke-width:2.5}
.ldnet .chips{display:flex;flex-wrap:wrap;gap:.3rem .5rem;list-style:none;margin:.2rem 0 .6rem;padding:0;
 font-size:.85rem}
.ldnet .chips li{background:var(--tint);color:var(--label);border:1px solid var(--strong);
 border-radius:.35rem;padding:.05rem .5rem}
.ldnet .chips small{opacity:.85}
.ldnet .structures{margin-top:.7rem;font-size:.9rem}
.ldnet summary{color:var(--muted);cursor:pointer;width:fit-content}
.ldnet table{border-collapse:collapse;width:100%;margin:.4rem 0 0;color:inherit;font-size:inherit}
.ldnet th,.ldnet td{padding:.3rem .8rem .3rem 0;border:0;border-top:1px solid var(--rule);text-align:start;
 vertical-align:top;background:none}
.ldnet thead th{border:0;color:var(--muted);font-weight:500}
.ldnet td:last-child,.ldnet th:last-child{text-align:end;padding-inline-end:0;
 white-space:nowrap;font-variant-numeric:tabular-nums}
.ldnet td .h{color:var(--label);font-weight:600}
.ldnet td small{color:var(--muted)}
.ldnet .tip{position:fixed;z-index:9;max-width:min(24rem,90vw);padding:.25rem .55rem;border-radius:.35rem;
 background:var(--ink);color:var(--surface);font-size:.8rem;pointer-events:none}
.ldnet .tip[hidden]{display:none}
@media (max-width:36rem){
 .ldnet thead{display:none}
 .ldnet tr{display:block;border-top:1px solid var(--rule);padding:.35rem 0}
 .ldnet td{display:inline;border:0;padding:0 .4rem 0 0}
}
@media print{
 body.ldnet{background:none}
 .ldnet main{max-width:none;padding:0}
 .ldnet .result{break-inside:avoid-page;content-visibility:visible}
 .ldnet .arcs,.ldnet .tip,.ldnet.js .key input{display:none}
 .ldnet mark.lift::before{line-height:0;vertical-align:baseline}
}
"""

STYLE = _COLOURS.strip() + _LAYOUT

SCRIPT = r"""
(() => {
'use strict';
const LANE = 19, GAP = 8, ROUND = 9;  // px: height of an arc's lane, room between labels, radius of a corner
const pen = document.createElement('canvas').getContext('2d');

function setUp(root) {
  const hidden = new Set(), drawn = new Map();
  const tip = root.appendChild(document.createElement('div'));
  tip.className = 'tip'; tip.hidden = true; tip.setAttribute('role', 'status');
  root.classList.add('js');

  for (const box of root.querySelectorAll('.legend input')) {
    box.checked = true;
    box.addEventListener('change', () => {
      box.checked ? hidden.delete(box.value) : hidden.add(box.value);
      for (const mark of root.querySelectorAll(`mark[data-k="${box.value}"]`))
        mark.classList.toggle('off', !box.checked);
      for (const stage of drawn.keys()) draw(stage, hidden);
    });
  }

  const resized = new ResizeObserver(entries => {
    for (const {target} of entries)  // the height changes with the arcs, so only a new width counts
      if (drawn.get(target) !== target.clientWidth) {
        drawn.set(target, target.clientWidth);
        draw(target, hidden);
      }
  });
  const seen = new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries)
      if (isIntersecting) { seen.unobserve(target); resized.observe(target); }
  }, {rootMargin: '800px'});
  for (const stage of root.querySelectorAll('.stage[data-arcs]')) seen.observe(stage);

  const tables = [...root.querySelectorAll('details.drawn')];
  for (const table of tables) table.open = false;
  addEventListener('beforeprint', () => tables.forEach(t => { t.dataset.was = t.open; t.open = true; }));
  addEventListener('afterprint', () => tables.forEach(t => { t.open = t.dataset.was === 'true'; }));

  const point = event => {
    const at = event.target.closest('mark,.arc');
    clear();
    if (at) choose(root, at, tip);
  };
  const clear = () => {
    tip.hidden = true;
    for (const hot of root.querySelectorAll('.hot')) hot.classList.remove('hot');
    for (const arcs of root.querySelectorAll('.choosing')) arcs.classList.remove('choosing');
  };
  root.addEventListener('pointerover', point);
  root.addEventListener('pointerleave', clear);
  root.addEventListener('focusin', point);
  root.addEventListener('focusout', clear);
  root.addEventListener('keydown', event => { if (event.key === 'Escape') clear(); });
}

function choose(root, at, tip) {
  if (at.title) {  // ours is there at once and for the keyboard as well
    at.dataset.tip = at.title;
    at.setAttribute('aria-description', at.title);
    at.removeAttribute('title');
  }
  const stage = at.closest('.stage'), number = at.dataset.m;
  const arcs = [...stage.querySelectorAll('.arc')];
  const hot = at.matches('.arc') ? [at] : arcs.filter(a => a.dataset.s === number || a.dataset.t === number);
  const ends = new Set(hot.flatMap(a => [a.dataset.s, a.dataset.t]));
  ends.add(number);
  for (const arc of hot) arc.classList.add('hot');
  if (hot.length) stage.querySelector('.arcs').classList.add('choosing');
  for (const mark of stage.querySelectorAll('mark'))
    if (ends.has(mark.dataset.m)) mark.classList.add('hot');
  if (at.matches('mark.off')) return;
  tip.textContent = at.dataset.tip;
  tip.hidden = false;
  const box = (at.querySelector('text') || at).getClientRects()[0], own = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(box.left, innerWidth - own.width - 4)) + 'px';
  const fits = box.bottom + own.height + 8 < innerHeight;
  tip.style.top = (fits ? box.bottom + 5 : box.top - own.height - 5) + 'px';
}

/* Arcs of one text. Whether a line is broken does not depend on its height, so places are measured, each line
   is given room for its lanes, and only then the heights are measured. */
function draw(stage, hidden) {
  const text = stage.querySelector('.text'), svg = stage.querySelector('.arcs');
  const first = new Map(), pieces = new Map();
  for (const mark of text.querySelectorAll('mark')) {
    const number = mark.dataset.m;
    if (!first.has(number)) first.set(number, mark);
    if (mark.matches('.piece:not(.off)')) pieces.set(number, [...(pieces.get(number) || []), mark]);
    if (mark.matches('.lift')) { mark.classList.remove('lift'); mark.style.removeProperty('--lift'); }
  }
  const arcs = JSON.parse(stage.dataset.arcs).filter(a => !hidden.has(String(a.k)) && first.has(String(a.s))
    && first.has(String(a.t)));
  const frame = stage.getBoundingClientRect(), looks = getComputedStyle(text);
  const rtl = looks.direction === 'rtl';
  if (!frame.width) return;
  const size = parseFloat(looks.fontSize);
  pen.font = `600 11.5px ${looks.fontFamily}`;

  const ends = measureEnds(arcs, first, frame);
  const strokes = arcs.flatMap(arc => strokesOf(arc, ends, frame.width, rtl));
  placeFeet(strokes);
  const lines = new Map();
  for (const stroke of strokes)
    lines.set(stroke.line, [...(lines.get(stroke.line) || []), stroke]);
  for (const list of lines.values()) {
    const lanes = giveLanes(list, frame.width), mark = list[0].lifts;
    const above = 1.45 + .18 * mark.style.getPropertyValue('--h');  // em from the base line to the box's top
    mark.style.setProperty('--lift', lanes * LANE + above * size + 'px');
    mark.classList.add('lift');
  }
  const moved = stage.getBoundingClientRect(), tops = new Map();
  for (const end of ends.values()) {
    end.top = end.mark.getClientRects()[0].top - moved.top;
    tops.set(end.line, Math.min(end.top, tops.get(end.line) ?? Infinity));
  }
  svg.replaceChildren();
  let lower = 0;  // dots of several marks lie below each other
  for (const marks of pieces.values()) tie(svg, marks, moved, rtl, lower++ % 3 * 2.5 + 2);
  for (const arc of arcs) drawArc(svg, arc, strokes.filter(s => s.arc === arc), tops);
}

/* Number of a mark -> where it begins: {mark, left, width, line}; lines are numbered from the top. */
function measureEnds(arcs, first, frame) {
  const ends = new Map();
  for (const arc of arcs)
    for (const number of [arc.s, arc.t])
      if (!ends.has(number)) {
        const mark = first.get(String(number)), box = mark.getClientRects()[0];
        const left = box.left - frame.left, y = (box.top + box.bottom) / 2;
        ends.set(number, {mark, left, width: box.width, y});
      }
  let line = -1, y = -Infinity;
  for (const end of [...ends.values()].sort((a, b) => a.y - b.y)) {
    if (end.y - y > 12) line++;
    y = end.y; end.line = line;
  }
  return ends;
}

/* An arc is one stroke if both marks are on one line; else one to the end of the upper line and one from the
   beginning of the lower. A stroke: {arc, line, lifts, from: foot, to: foot}; a foot is at a mark (`end`) or
   at an edge. */
function strokesOf(arc, ends, width, rtl) {
  const source = ends.get(arc.s), target = ends.get(arc.t);
  const from = {end: source, centre: source.left + source.width / 2};
  const to = {end: target, centre: target.left + target.width / 2};
  if (source.line === target.line) return [{arc, line: source.line, lifts: source.mark, from, to}];
  const after = {x: rtl ? 0 : width}, before = {x: rtl ? width : 0}, down = source.line < target.line;
  return [
    {arc, line: source.line, lifts: source.mark, from, to: {...(down ? after : before)}},
    {arc, line: target.line, lifts: target.mark, from: {...(down ? before : after)}, to},
  ];
}

/* Feet on one mark stand beside each other, in the order in which the arcs cross least. */
function placeFeet(strokes) {
  const feet = new Map();
  for (const {from, to} of strokes)
    for (const [own, other] of [[from, to], [to, from]])
      if (own.end) feet.set(own.end, [...(feet.get(own.end) || []), {own, other: other.centre ?? other.x}]);
  for (const [end, list] of feet) {
    list.sort((a, b) => (a.other > a.own.centre) - (b.other > b.own.centre) || b.other - a.other);
    const step = Math.min(14, end.width / (list.length + 1));
    list.forEach(({own}, i) => { own.x = own.centre + (i - (list.length - 1) / 2) * step; });
  }
}

/* The lowest lane above all shorter strokes in the way; returns how many lanes there are. */
function giveLanes(strokes, width) {
  for (const stroke of strokes) {
    const left = Math.min(stroke.from.x, stroke.to.x), right = Math.max(stroke.from.x, stroke.to.x);
    const half = Math.min(width, pen.measureText(stroke.arc.l).width + GAP) / 2;
    stroke.middle = Math.max(half, Math.min(width - half, (left + right) / 2));
    stroke.low = Math.min(left, stroke.middle - half);
    stroke.high = Math.max(right, stroke.middle + half);
  }
  const placed = [];
  for (const stroke of [...strokes].sort((a, b) => (a.high - a.low) - (b.high - b.low))) {
    const below = placed.filter(s => s.low < stroke.high && stroke.low < s.high).map(s => s.lane);
    stroke.lane = below.length ? Math.max(...below) + 1 : 0;
    placed.push(stroke);
  }
  return Math.max(...strokes.map(s => s.lane)) + 1;
}

function add(parent, name, attributes) {
  const element = parent.appendChild(document.createElementNS(parent.namespaceURI, name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function drawArc(svg, arc, strokes, tops) {
  const group = add(svg, 'g', {class: 'arc h' + (arc.d ? ' dashed' : ''), style: `--c:${arc.c}`, tabindex: 0,
    role: 'img', 'aria-label': arc.tip, 'data-tip': arc.tip, 'data-s': arc.s, 'data-t': arc.t});
  for (const {line, lane, from, to, middle} of strokes) {
    const y = tops.get(line) - 12 - lane * LANE, d = strokePath(from, to, y);
    add(group, 'path', {class: 'line', d});
    add(group, 'path', {class: 'hit', d});
    if (to.end) {
      const x = to.x, top = to.end.top;
      add(group, 'path', {class: 'tip-end', d: `M${x - 4},${top - 7}L${x + 4},${top - 7}L${x},${top}Z`});
    }
    const label = add(group, 'text', {x: middle, y: y + 4});
    label.textContent = arc.l;
  }
}

function strokePath(from, to, y) {
  const way = Math.sign(to.x - from.x) || 1, round = Math.min(ROUND, Math.abs(to.x - from.x) / 2);
  const up = from.end
    ? `M${from.x},${from.end.top - 1}L${from.x},${y + round}Q${from.x},${y} ${from.x + way * round},${y}`
    : `M${from.x},${y}`;
  const down = to.end
    ? `L${to.x - way * round},${y}Q${to.x},${y} ${to.x},${y + round}L${to.x},${to.end.top - 5}`
    : `L${to.x},${y}`;
  return up + down;
}

/* Dots below the text between the pieces of a discontinuous mark. */
function tie(svg, marks, frame, rtl, lower) {
  for (let i = 1; i < marks.length; i++) {
    const a = [...marks[i - 1].getClientRects()].at(-1), b = marks[i].getClientRects()[0];
    const style = marks[i].getAttribute('style');
    if (!a || !b || marks[i].matches('.from')) continue;
    const out = (rtl ? a.left : a.right) - frame.left, back = (rtl ? b.right : b.left) - frame.left;
    const same = Math.abs(a.bottom - b.bottom) < 12;
    const y = (same ? Math.max(a.bottom, b.bottom) : a.bottom) - frame.top + lower;
    const z = same ? y : b.bottom - frame.top + lower;
    const far = rtl ? 0 : frame.width, near = rtl ? frame.width : 0;
    const d = same ? `M${out},${y}L${back},${z}` : `M${out},${y}L${far},${y}M${near},${z}L${back},${z}`;
    add(svg, 'path', {class: 'tie h', style, d});
  }
}

for (const root of document.querySelectorAll('.ldnet:not([data-ready])')) {
  root.dataset.ready = '';
  setUp(root);
}
})();
"""
