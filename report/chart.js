// Draws one chart on a canvas: lines with bands over a shared horizontal axis. The horizontal range is shared by all
// charts; the vertical one is that of what is seen.
'use strict';

const palette = ['#2f7ed8', '#e07b00', '#2e9d57', '#cc3d3d', '#8b62c9', '#8c6d46', '#d662a8', '#6f7780', '#a3a11e',
  '#16a3b5'];
function colourOf(index, count) {
  if (count <= palette.length) return palette[index % palette.length];
  return `hsl(${Math.round(index * 137.508) % 360} 60% ${45 + index % 3 * 9}%)`;
}

function format(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (typeof value !== 'number') return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace('e+', 'e');
  if (Number.isInteger(value)) return value.toLocaleString('en').replace(/,/g, ' ');
  return Number(value.toPrecision(5)).toString();
}

// Returns round numbers in a range, or powers of ten and parts of them on a logarithmic axis.
function ticksOf(low, high, count, isLogarithmic) {
  const ticks = [];
  if (isLogarithmic) {
    const decades = Math.log10(high / low);
    const parts = decades > 4 ? [1] : decades > 1.2 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const stride = Math.max(1, Math.ceil(decades / count));
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += stride)
      for (const part of parts) {
        const tick = part * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    if (ticks.length >= 2) return ticks;
    ticks.length = 0;
  }
  const rough = (high - low) / count, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * size).find((one) => one >= rough) || size * 10;
  for (let i = Math.ceil(low / step); i * step <= high; ++i) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// The moving average that the program computes for curves that it thins (report/series.h).
function smoothed(values, weight) {
  let sum = 0, share = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return sum / share;
  });
}

class Chart {
  // `lines` are {name, colour, run, split, curve, axis}, where axis turns steps into places. `view` is shared: {range,
  // logX, logY, bands, smoothing, isShown(line), changed()}.
  constructor(title, lines, view) {
    this.lines = lines;
    this.view = view;
    this.cursor = null;
    this.element = document.createElement('figure');
    const caption = element('figcaption', {}, element('span', { text: title }), element('small', { text: '' }));
    this.scale = caption.lastChild;
    this.canvas = element('canvas', { tabIndex: 0 });
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', `${title}: arrows read values, plus and minus zoom, 0 shows all`);
    this.readout = element('div', { className: 'readout' });
    this.readout.setAttribute('aria-live', 'polite');
    this.element.append(caption, this.canvas, this.readout);
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    let start = null;
    const place = (event) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.addEventListener('pointerdown', (event) => { start = place(event); });
    canvas.addEventListener('pointermove', (event) => {
      this.cursor = this.valueAt(place(event));
      this.selection = start === null ? null : [start, place(event)];
      this.draw();
    });
    canvas.addEventListener('pointerup', (event) => {
      const end = place(event);
      if (start !== null && Math.abs(end - start) > 6)
        this.zoom([this.valueAt(Math.min(start, end)), this.valueAt(Math.max(start, end))]);
      start = this.selection = null;
    });
    canvas.addEventListener('pointerleave', () => {
      start = this.selection = this.cursor = null;
      this.draw();
    });
    canvas.addEventListener('dblclick', () => this.zoom(null));
    canvas.addEventListener('keydown', (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.frame) return;
    const { x0, x1 } = this.frame;
    const places = [x0 + (x1 - x0) * 0.25, x0 + (x1 - x0) * 0.75];
    const move = event.key === 'ArrowRight' ? 1 : -1;
    if (event.key === '+' || event.key === '=') this.zoom(places.map((place) => this.valueAt(place)));
    else if (event.key === '-') this.zoom([this.valueAt(x0 - (x1 - x0) / 2), this.valueAt(x1 + (x1 - x0) / 2)]);
    else if (event.key === '0' || event.key === 'Escape') this.zoom(null);
    else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      const part = (x1 - x0) / 50;
      if (event.shiftKey && this.view.range) this.zoom([x0, x1].map((x) => this.valueAt(x + move * part * 5)));
      const now = this.cursor === null ? (x0 + x1) / 2 : this.placeOf(this.cursor);
      this.cursor = this.valueAt(Math.min(x1, Math.max(x0, now + move * part)));
      this.draw();
    } else return;
    event.preventDefault();
  }

  zoom(range) {
    this.view.range = range && range[1] > range[0] ? range : null;
    this.view.changed();
  }

  valueAt(x) {
    const { x0, x1, low, high } = this.frame;
    return this.unscale(low + (x - x0) / (x1 - x0) * (high - low));
  }
  placeOf(value) {
    const { x0, x1, low, high } = this.frame;
    return x0 + (this.scaleX(value) - low) / (high - low) * (x1 - x0);
  }
  scaleX(value) { return this.view.logX ? Math.log10(Math.max(value, 1e-12)) : value; }
  unscale(value) { return this.view.logX ? 10 ** value : value; }

  // The points of a line as they are drawn: places, values and the band.
  points(line) {
    const { curve } = line, weights = this.view.smoothing;
    const key = `${this.view.axis} ${weights}`;
    if (line.cached && line.cached.key === key) return line.cached;
    const x = curve.x.map(line.axis);
    let y = curve.y;
    if (weights > 0) y = curve.s ? curve.s[weights - 1] : smoothed(curve.y, data.smoothing[weights - 1]);
    return line.cached = { key, x, y, low: curve.l || null, high: curve.h || null };
  }

  draw() {
    const canvas = this.canvas, ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const shown = this.lines.filter((line) => this.view.isShown(line));
    this.frame = { x0: 58, x1: width - 12, y0: height - 24, y1: 10 };
    if (!this.setRange(shown)) {
      pen.fillStyle = colour('--faint');
      pen.textAlign = 'center';
      pen.fillText('nothing to draw here', width / 2, height / 2);
      return;
    }
    this.drawAxes(pen);
    pen.save();
    pen.beginPath();
    pen.rect(this.frame.x0, this.frame.y1 - 3, this.frame.x1 - this.frame.x0, this.frame.y0 - this.frame.y1 + 6);
    pen.clip();
    if (this.view.bands) for (const line of shown) this.drawBand(pen, line);
    for (const line of shown) this.drawLine(pen, line, shown.length);
    pen.restore();
    this.drawCursor(pen, shown);
  }

  // Sets the ranges of both axes from what is shown. Returns whether there is anything.
  setRange(shown) {
    let low = Infinity, high = -Infinity;
    for (const line of shown)
      for (const x of this.points(line).x)
        if (!this.view.logX || x > 0) { low = Math.min(low, x); high = Math.max(high, x); }
    if (this.view.range) [low, high] = this.view.range;
    if (!(low <= high)) return false;
    if (low === high) { low -= 0.5; high += 0.5; }
    let bottom = Infinity, top = -Infinity;
    const take = (value) => {
      if (value === null || (this.view.logY && value <= 0)) return;
      bottom = Math.min(bottom, value);
      top = Math.max(top, value);
    };
    for (const line of shown) {
      const { x, y, low: least, high: most } = this.points(line);
      for (let i = 0; i < x.length; ++i) {
        if (x[i] < low || x[i] > high) continue;
        take(y[i]);
        if (this.view.bands && least) { take(least[i]); take(most[i]); }
      }
    }
    if (!(bottom <= top)) return false;
    const isLogarithmic = this.view.logY && bottom > 0;
    if (isLogarithmic) { bottom = Math.log10(bottom); top = Math.log10(top); }
    const margin = (top - bottom) * 0.04 || Math.abs(top) * 0.05 || 0.5;
    Object.assign(this.frame, { low: this.scaleX(low), high: this.scaleX(high), bottom: bottom - margin,
      top: top + margin, isLogarithmic });
    this.scale.textContent = isLogarithmic ? 'log scale' : '';
    return true;
  }

  heightOf(value) {
    const { y0, y1, bottom, top, isLogarithmic } = this.frame;
    if (isLogarithmic) value = value > 0 ? Math.log10(value) : bottom - 1;
    return y0 - (value - bottom) / (top - bottom) * (y0 - y1);
  }

  drawAxes(pen) {
    const { x0, x1, y0, y1, bottom, top, isLogarithmic, low, high } = this.frame;
    pen.font = '11px system-ui, sans-serif';
    pen.lineWidth = 1;
    pen.strokeStyle = colour('--line');
    pen.fillStyle = colour('--faint');
    pen.textAlign = 'right';
    pen.textBaseline = 'middle';
    const raise = (value) => isLogarithmic ? 10 ** value : value;
    let last = Infinity;
    for (const tick of ticksOf(raise(bottom), raise(top), 5, isLogarithmic)) {
      const y = this.heightOf(tick);
      pen.beginPath();
      pen.moveTo(x0, y);
      pen.lineTo(x1, y);
      pen.stroke();
      if (last - y > 12) { pen.fillText(format(tick), x0 - 6, y); last = y; }
    }
    pen.textAlign = 'center';
    pen.textBaseline = 'top';
    last = -Infinity;
    for (const tick of ticksOf(this.unscale(low), this.unscale(high), Math.max(2, (x1 - x0) / 70), this.view.logX)) {
      const x = this.placeOf(tick);
      if (x - last < 46) continue;
      pen.textAlign = x > x1 - 14 ? 'right' : 'center';
      pen.fillText(shortNumber(tick), x > x1 - 14 ? x1 + 10 : x, y0 + 7);
      last = x;
    }
  }

  drawBand(pen, line) {
    const { x, low, high } = this.points(line);
    if (!low) return;
    pen.globalAlpha = 0.16;
    pen.fillStyle = line.colour;
    let begin = 0;
    for (let i = 0; i <= x.length; ++i) {
      if (i < x.length && low[i] !== null) continue;
      if (i - begin > 1) {
        pen.beginPath();
        for (let k = begin; k < i; ++k) pen.lineTo(this.placeOf(x[k]), this.heightOf(high[k]));
        for (let k = i - 1; k >= begin; --k) pen.lineTo(this.placeOf(x[k]), this.heightOf(low[k]));
        pen.fill();
      }
      begin = i + 1;
    }
    pen.globalAlpha = 1;
  }

  drawLine(pen, line, count) {
    const { x, y } = this.points(line), isEval = line.split !== 'train', isLit = this.view.lit === line.run;
    pen.strokeStyle = pen.fillStyle = line.colour;
    pen.lineWidth = isLit ? 3.5 : count > 60 ? 0.8 : isEval ? 2 : 1.4;
    pen.globalAlpha = this.view.lit !== null && !isLit ? 0.2 : count > 60 ? 0.6 : 1;
    pen.setLineDash(isEval && line.hasTwin ? [5, 3] : []);
    pen.beginPath();
    let isDown = false;
    const alone = [];
    for (let i = 0; i < x.length; ++i) {
      if (y[i] === null || (this.frame.isLogarithmic && y[i] <= 0)) { isDown = false; continue; }
      const px = this.placeOf(x[i]), py = this.heightOf(y[i]);
      if (isDown) pen.lineTo(px, py);
      else pen.moveTo(px, py);
      if (x.length <= 40 && (isEval || x.length === 1)) alone.push([px, py]);
      isDown = true;
    }
    pen.stroke();
    pen.setLineDash([]);
    if (count <= 60)
      for (const [px, py] of alone) { pen.beginPath(); pen.arc(px, py, 2.6, 0, 7); pen.fill(); }
    pen.globalAlpha = 1;
  }

  drawCursor(pen, shown) {
    const { x0, y0, y1, x1 } = this.frame;
    if (this.selection) {
      pen.fillStyle = colour('--accent');
      pen.globalAlpha = 0.15;
      pen.fillRect(this.selection[0], y1, this.selection[1] - this.selection[0], y0 - y1);
      pen.globalAlpha = 1;
    }
    this.readout.replaceChildren();
    if (this.cursor === null) return;
    const x = this.placeOf(this.cursor);
    if (x < x0 || x > x1) return;
    pen.strokeStyle = colour('--faint');
    pen.beginPath();
    pen.moveTo(x, y1);
    pen.lineTo(x, y0);
    pen.stroke();
    this.readout.append(element('b', { text: `${this.view.axis} ${format(Math.round(this.cursor * 100) / 100)}  ` }));
    for (const line of shown.slice(0, 12)) {
      const { x: places, y } = this.points(line), i = nearest(places, this.cursor);
      if (i < 0 || y[i] === null) continue;
      const swatch = element('i', { className: 'swatch' });
      swatch.style.background = line.colour;
      this.readout.append(element('span', {}, swatch, `${line.name} ${line.split}: ${format(y[i])}`));
    }
    if (shown.length > 12) this.readout.append(element('span', { text: `and ${shown.length - 12} others` }));
  }
}

// The index of the sorted value that is nearest, or -1 where there is none.
function nearest(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && Math.abs(sorted[low - 1] - value) < Math.abs(sorted[low] - value) ? low - 1 : low;
}

function shortNumber(value) {
  for (const [size, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']])
    if (Math.abs(value) >= size)
      return Number((value / (letter === 'k' ? 1e3 : size)).toPrecision(4)) + letter;
  return format(value);
}

const colours = new Map();
function colour(name) {
  if (!colours.has(name))
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return colours.get(name);
}
