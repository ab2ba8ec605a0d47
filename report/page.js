// Builds the page from its data: curves, results, configurations, samples, predictions, and how to run it again.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const main = document.querySelector('main');
const view = { range: null, logX: false, logY: false, bands: true, smoothing: 0, axis: 'step', averaged: false,
  hidden: new Set(), lit: null };
const charts = [];
const lastMetrics = ['learning_rate', 'grad_norm', 'tokens_per_second', 'memory_mib'];
const axisMetrics = new Set(['tokens', 'seconds']);

function section(id, title, ...children) {
  if (!children.length) return;
  main.append(element('section', { id }, element('h2', { text: title }), ...children));
  document.querySelector('nav').append(element('a', { href: `#${id}`, text: title }));
}
function select(label, entries, onchange) {
  const list = element('select', { onchange: () => onchange(list.value) },
    ...entries.map(([value, text]) => element('option', { value, text })));
  return element('label', {}, `${label} `, list);
}
function checkbox(label, isChecked, onchange) {
  const box = element('input', { type: 'checkbox', checked: isChecked, onchange: () => onchange(box.checked) });
  return element('label', {}, box, ` ${label}`);
}
function redraw() { for (const chart of charts) if (chart.isNear !== false) chart.draw(); }
view.changed = redraw;

// Returns the function from a step of a run to tokens or seconds, linear between the lines of its log.
function axisOf(run) {
  return (step) => {
    if (view.axis === 'step') return step;
    const steps = run.axis.step, places = run.axis[view.axis];
    if (!steps.length || !places) return step;
    let i = 1;
    if (steps.length > 2) {
      let low = 1, high = steps.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (steps[middle] < step) low = middle + 1;
        else high = middle;
      }
      i = low;
    }
    if (steps.length < 2) return places[0] * step / (steps[0] || 1);
    const share = (step - steps[i - 1]) / (steps[i] - steps[i - 1] || 1);
    return Math.max(0, places[i - 1] + share * (places[i] - places[i - 1]));
  };
}

// The lines of all charts by metric. A group of runs that differ in their seeds alone has lines of its own.
function linesByMetric() {
  const metrics = new Map();
  const sources = [...data.runs.map((run, index) => ({ run, index, colour: colourOf(index, data.runs.length) })),
    ...data.groups.map((run, index) => ({ run, index: `group ${index}`, isGroup: true,
      colour: colourOf(run.runs[0], data.runs.length) }))];
  for (const { run, index, colour: own, isGroup } of sources)
    for (const [key, curve] of Object.entries(run.curves)) {
      const slash = key.indexOf('/'), split = key.slice(0, slash), metric = key.slice(slash + 1);
      if (axisMetrics.has(metric)) continue;
      if (!metrics.has(metric)) metrics.set(metric, []);
      const axis = axisOf(isGroup ? data.runs[run.runs[0]] : run);
      metrics.get(metric).push({ name: run.name, colour: own, run: index, split, curve, axis, isGroup,
        members: isGroup ? run.runs : [index] });
    }
  for (const lines of metrics.values()) {
    const hasTrain = lines.some((line) => line.split === 'train');
    for (const line of lines) line.hasTwin = hasTrain;
  }
  const rank = (name) => name === 'loss' ? -2 : name === 'accuracy' ? -1 : lastMetrics.indexOf(name) + 1;
  return [...metrics].sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b, 'en', { numeric: true }));
}

const isGrouped = new Set(data.groups.flatMap((group) => group.runs));
view.isShown = (line) => {
  if (line.members.every((run) => view.hidden.has(run))) return false;
  if (view.averaged) return line.isGroup || !isGrouped.has(line.run);
  return !line.isGroup;
};

function legend() {
  const list = element('div', { className: 'legend' });
  data.runs.forEach((run, index) => {
    const swatch = element('i', { className: 'swatch' });
    swatch.style.background = colourOf(index, data.runs.length);
    const box = element('input', { type: 'checkbox', checked: true, onchange: () => {
      if (box.checked) view.hidden.delete(index);
      else view.hidden.add(index);
      redraw();
    } });
    const light = (run_) => () => { view.lit = run_; redraw(); };
    const label = element('label', { title: run.folder, onmouseenter: light(index), onmouseleave: light(null) },
      box, swatch, run.name);
    label.dataset.name = run.name.toLowerCase();
    list.append(label);
  });
  const filter = element('input', { type: 'search', placeholder: 'filter runs', oninput: () => {
    for (const label of list.children) label.hidden = !label.dataset.name.includes(filter.value.toLowerCase());
  } });
  filter.setAttribute('aria-label', 'filter runs');
  const all = (isShown) => () => {
    [...list.children].forEach((label, index) => {
      if (label.hidden) return;
      label.querySelector('input').checked = isShown;
      if (isShown) view.hidden.delete(index);
      else view.hidden.add(index);
    });
    redraw();
  };
  const bar = element('div', { className: 'controls screen' }, filter, element('button', { text: 'show', onclick: all(true) }),
    element('button', { text: 'hide', onclick: all(false) }));
  return [data.runs.length > 6 ? bar : '', list];
}

function curves() {
  const axes = [['step', 'step']];
  for (const axis of ['tokens', 'seconds']) if (data.runs.some((run) => run.axis[axis])) axes.push([axis, axis]);
  const controls = element('div', { className: 'controls bar' },
    select('x:', axes, (value) => { view.axis = value; view.range = null; redraw(); }),
    select('smoothing:', [['0', 'none'], ['1', 'light'], ['2', 'medium'], ['3', 'strong']],
      (value) => { view.smoothing = Number(value); redraw(); }),
    checkbox('log y', false, (on) => { view.logY = on; redraw(); }),
    checkbox('log x', false, (on) => { view.logX = on; view.range = null; redraw(); }),
    checkbox('min–max band', true, (on) => { view.bands = on; redraw(); }),
    data.groups.length ? checkbox('mean over seeds', false, (on) => { view.averaged = on; redraw(); }) : '',
    element('button', { text: 'whole range', onclick: () => { view.range = null; redraw(); } }),
    element('span', { className: 'count', text: 'drag over a chart to zoom, double-click for all' }));
  const grid = element('div', { className: 'charts' });
  const single = [];
  for (const [metric, lines] of linesByMetric()) {
    // A metric with one value a run stands in the table of results.
    if (lines.every((line) => line.curve.x.length < 2)) {
      single.push(metric);
      continue;
    }
    const chart = new Chart(metric, lines, view);
    charts.push(chart);
    grid.append(chart.element);
  }
  if (!charts.length) return;
  const note = `without a curve, since they have one value each: ${single.join(', ')}`;
  section('curves', 'Curves', controls, ...legend(), grid,
    single.length ? element('p', { className: 'count', text: note }) : '');
  // Charts that nobody sees yet are drawn when they come near.
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.find((one) => one.element === entry.target);
      chart.isNear = entry.isIntersecting;
      if (chart.isNear) chart.draw();
    }
  }, { rootMargin: '400px' });
  for (const chart of charts) { chart.isNear = false; observer.observe(chart.element); }
  const recolour = () => { colours.clear(); for (const chart of charts) chart.draw(); };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour);
  window.addEventListener('beforeprint', recolour);
  window.addEventListener('afterprint', recolour);
  window.addEventListener('resize', redraw);
}

function isBetter(run, value, other) { return run.more_is_better ? value > other : value < other; }

function results() {
  const finals = [...new Set(data.runs.flatMap((run) => Object.keys(run.final)))];
  const text = (name) => ({ name, of: (run) => run[name] });
  const scored = data.runs.filter((run) => typeof run.best === 'number');
  const metrics = new Set(scored.map((run) => run.best_metric));
  const winner = metrics.size === 1 && scored.length > 1
    ? scored.reduce((a, b) => isBetter(a, b.best, a.best) ? b : a).best : undefined;
  const columns = [{ name: 'run', of: (run) => run.name }, { name: 'ended', of: (run) => run.reason }, text('steps'),
    { name: metrics.size === 1 ? `best ${[...metrics][0]}` : 'best', of: (run) => run.best,
      mark: (run) => winner !== undefined && run.best === winner ? 'best' : '' },
    ...finals.map((name) => ({ name: name.replace('eval/', ''), of: (run) => run.final[name] })),
    { name: 'tokens/s', of: (run) => run.speed }, { name: 'tokens', of: (run) => run.tokens },
    { name: 'seconds', of: (run) => run.seconds }, { name: 'memory, MiB', of: (run) => run.memory_mib }]
    .filter((column) => data.runs.some((run) => { const v = column.of(run); return v !== null && v !== undefined; }));
  const parts = [sortableTable(columns, data.runs, { placeholder: 'filter runs' })];
  if (data.groups.length) {
    const rows = data.groups.flatMap((group) => finals.map((name) => {
      const values = group.runs.map((run) => data.runs[run].final[name]).filter((value) => typeof value === 'number');
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
      return { group, name, count: values.length, mean, deviation: Math.sqrt(square), least: Math.min(...values),
        most: Math.max(...values) };
    })).filter((row) => row.count > 1);
    parts.push(element('h3', { text: 'Over seeds' }), sortableTable([
      { name: 'runs', of: (row) => row.group.name }, { name: 'metric', of: (row) => row.name.replace('eval/', '') },
      { name: 'seeds', of: (row) => row.count }, { name: 'mean', of: (row) => row.mean },
      { name: 'standard deviation', of: (row) => row.deviation }, { name: 'least', of: (row) => row.least },
      { name: 'largest', of: (row) => row.most }], rows));
  }
  const notes = data.runs.flatMap((run) => run.notes.map((note) => `${run.name}: ${note}`));
  if (notes.length) parts.push(element('ul', { className: 'notes' },
    ...notes.slice(0, 50).map((text_) => element('li', { text: text_ }))));
  section('results', 'Results', ...parts);
}

function sweeps() {
  for (const sweep of data.sweeps) {
    const names = [...new Set(sweep.trials.flatMap((trial) => Object.keys(trial.options || {})))];
    const columns = [{ name: 'trial', of: (trial) => trial.name }, { name: 'state', of: (trial) => trial.state },
      ...names.map((name) => ({ name, of: (trial) => trial.options[name] })),
      { name: sweep.metric || 'metric', of: (trial) => trial.value },
      { name: 'steps', of: (trial) => trial.step }, { name: 'seconds', of: (trial) => trial.seconds },
      { name: 'error', of: (trial) => trial.error || '', isText: true }];
    const parts = [sortableTable(columns, sweep.trials, { placeholder: 'filter trials' })];
    if (sweep.importance && sweep.importance.length) parts.push(element('h3', { text: 'Importance of each option' }),
      element('p', { className: 'count', text: 'the share of the variance of the metric that an option explains alone' }),
      sortableTable([{ name: 'option', of: (row) => row.option }, { name: 'share', of: (row) => row.share },
        { name: 'values', of: (row) => row.values }, { name: 'best value', of: (row) => row.best }], sweep.importance));
    section(`sweep_${data.sweeps.indexOf(sweep)}`, `Sweep ${sweep.name}`, ...parts);
  }
}

const optionsOf = (run) => ({ ...data.common, ...run.differs });

function configurations() {
  const differing = [...new Set(data.runs.flatMap((run) => Object.keys(run.differs)))];
  const parts = [];
  if (data.runs.length > 12) {
    parts.push(element('p', { className: 'count', text: 'the options in which the runs differ' }), sortableTable(
      [{ name: 'run', of: (run) => run.name },
        ...differing.map((name) => ({ name, of: (run) => numberOr(run.differs[name]) }))], data.runs,
      { placeholder: 'filter runs' }));
  } else {
    const show = (isWhole) => {
      const names = isWhole ? [...new Set(data.runs.flatMap((run) => Object.keys(optionsOf(run))))] : differing;
      const columns = [{ name: 'option', of: (name) => name }, ...data.runs.map((run) => ({ name: run.name,
        of: (name) => optionsOf(run)[name] ?? '', isText: true,
        mark: (name) => differing.includes(name) ? 'differs' : '' }))];
      place.replaceChildren(sortableTable(columns, names, { placeholder: 'filter options' }));
    };
    const place = element('div'), isAlone = data.runs.length < 2;
    if (!isAlone) parts.push(element('div', { className: 'controls' }, checkbox('all options', false, show)));
    parts.push(place);
    show(isAlone);
  }
  section('configurations', 'Configurations', ...parts);
}
function numberOr(text) { return text !== undefined && text !== '' && !Number.isNaN(Number(text)) ? Number(text) : text; }

// A section with a choice of a run, of those for which `has` holds.
function byRun(id, title, has, show) {
  const runs = data.runs.filter(has);
  if (!runs.length) return;
  const place = element('div');
  const choice = select('run:', runs.map((run, index) => [index, run.name]),
    (value) => place.replaceChildren(...show(runs[value])));
  section(id, title, element('div', { className: 'controls' }, choice), place);
  place.replaceChildren(...show(runs[0]));
}

function samples(run) {
  const text = element('pre', { tabIndex: 0 }), said = element('span');
  const slider = element('input', { type: 'range', min: 0, max: run.samples.length - 1, value: run.samples.length - 1,
    oninput: () => show() });
  slider.setAttribute('aria-label', 'step of the samples');
  const show = () => {
    const [step, sample] = run.samples[slider.value];
    said.textContent = ` step ${format(step)}`;
    text.textContent = sample;
  };
  show();
  return [element('div', { className: 'controls' }, element('label', {}, slider, said)), text];
}

function predictions(run) {
  const { all, right, confusion, levels, wrong } = run.predictions, parts = [];
  const share = (one, of) => `${format(one)} of ${format(of)} right (${(100 * one / of).toFixed(1)} %)`;
  parts.push(element('p', { text: share(right, all) }));
  const side = element('div', { className: 'side' });
  if (Object.keys(confusion).length)
    side.append(element('div', {}, element('h3', { text: 'Label and prediction' }),
      element('div', { className: 'scroll' }, matrixTable(confusion, 'label', 'prediction'))));
  if (levels.length)
    side.append(element('div', {}, element('h3', { text: 'By level' }), sortableTable([
      ...(levels.some((row) => row[0]) ? [{ name: 'mode', of: (row) => row[0] }] : []), { name: 'level', of: (row) => numberOr(row[1]) },
      { name: 'right', of: (row) => row[2] }, { name: 'all', of: (row) => row[3] },
      { name: 'share', of: (row) => row[2] / row[3] }], levels)));
  if (side.childElementCount) parts.push(side);
  if (wrong.length) {
    const names = [...new Set(wrong.flatMap((row) => Object.keys(row)))];
    const title = wrong.length < all - right ? `The first ${wrong.length} of ${all - right} wrong predictions`
      : 'Wrong predictions';
    parts.push(element('h3', { text: title }), sortableTable(
      names.map((name) => ({ name, of: (row) => row[name], isText: true })), wrong,
      { placeholder: 'filter predictions', alwaysFilter: true }));
  }
  return parts;
}

function again(run) {
  const options = optionsOf(run), lines = [];
  let last = '';
  const names = Object.keys(options);
  const sectionOf = (name) => name.includes('.') ? name.slice(0, name.lastIndexOf('.')) : '';
  const sections = [...new Set(['', ...names.map(sectionOf)])];
  for (const one of sections)
    for (const name of names.filter((name_) => sectionOf(name_) === one)) {
      if (one !== last) lines.push('', `[${one}]`);
      last = one;
      lines.push(`${name.slice(one ? one.length + 1 : 0)} = ${options[name]}`);
    }
  const text = lines.join('\n') + '\n', folder = run.folder;
  const copy = element('button', { text: 'copy', onclick: () => navigator.clipboard.writeText(text) });
  return [element('p', { text: `engine ${run.version || data.version} made it in ${folder}. ` +
    'Write the configuration below into again.cfg, and start it under another name:' }),
    element('pre', { text: './engine train again.cfg --name again' }),
    element('p', { text: 'The same build gives the same bits on the same machine.' }), copy,
    element('pre', { text, tabIndex: 0 })];
}

document.getElementById('summary').textContent =
  `${data.runs.length} run${data.runs.length === 1 ? '' : 's'}, ${format(data.points)} points read, ` +
  `engine ${data.version}, ${data.made}`;
curves();
sweeps();
results();
configurations();
byRun('samples', 'Samples', (run) => run.samples.length, samples);
byRun('predictions', 'Predictions', (run) => run.predictions.all > 0, predictions);
byRun('again', 'Run it again', () => true, again);
document.documentElement.dataset.ready = 'yes';
