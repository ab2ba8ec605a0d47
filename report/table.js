// Tables that can be sorted and filtered. Text from runs reaches the page as text alone, never as HTML.
'use strict';

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === 'text') made.textContent = value;
    else if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// `columns` are {name, of(row) -> value, isText, mark(row) -> class}. Numbers are right-aligned, and sort as numbers.
// Returns an element with a filter of the rows' texts.
function sortableTable(columns, rows, options = {}) {
  const body = element('tbody'), counted = element('span', { className: 'count' });
  const filter = element('input', { type: 'search', placeholder: options.placeholder || 'filter' });
  filter.setAttribute('aria-label', options.placeholder || 'filter the rows');
  let sorted = null, isDown = false;
  const cells = rows.map((row) => columns.map((column) => column.of(row)));
  const texts = cells.map((row) => row.map((cell) => String(cell)).join('\u0000').toLowerCase());
  const most = options.most || 2000;

  const fill = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let order = rows.map((_, i) => i).filter((i) => words.every((word) => texts[i].includes(word)));
    if (sorted !== null) {
      const isMissing = (value) => value === null || value === undefined || value === '' || Number.isNaN(value);
      order.sort((a, b) => {
        const x = cells[a][sorted], y = cells[b][sorted];
        if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y) || a - b;
        const less = typeof x === 'number' && typeof y === 'number' ? x - y
          : String(x).localeCompare(String(y), 'en', { numeric: true });
        return (isDown ? -less : less) || a - b;
      });
    }
    counted.textContent = order.length === rows.length ? `${rows.length} rows` : `${order.length} of ${rows.length} rows`;
    if (order.length > most) counted.textContent += `, the first ${most} are shown`;
    body.replaceChildren(...order.slice(0, most).map((i) => element('tr', {}, ...columns.map((column, c) => {
      const value = cells[i][c], isNumber = typeof value === 'number';
      const cell = element('td', { text: isNumber ? format(value) : value === null || value === undefined ? '–' : value });
      cell.className = [isNumber ? 'number' : column.isText ? 'text' : '', column.mark ? column.mark(rows[i]) : '']
        .join(' ').trim();
      return cell;
    }))));
  };
  const heads = columns.map((column, c) => {
    const isNumber = cells.some((row) => typeof row[c] === 'number');
    const head = element('th', { className: isNumber ? 'number' : '' });
    head.setAttribute('scope', 'col');
    head.append(element('button', {
      text: column.name, title: 'sort',
      onclick: () => {
        isDown = sorted === c ? !isDown : isNumber;
        sorted = c;
        heads.forEach((one, i) => i === c ? one.setAttribute('aria-sort', isDown ? 'descending' : 'ascending')
          : one.removeAttribute('aria-sort'));
        fill();
      }
    }));
    return head;
  });
  filter.addEventListener('input', fill);
  fill();
  const table = element('table', {}, element('thead', {}, element('tr', {}, ...heads)), body);
  const bar = element('div', { className: 'controls' }, filter, counted);
  return element('div', {}, rows.length > 8 || options.alwaysFilter ? bar : '', element('div', { className: 'scroll' }, table));
}

// A table of counts by two keys, the right ones outlined, all shaded by their share of the row.
function matrixTable(matrix, rowName, columnName) {
  const rows = Object.keys(matrix);
  const columns = [...new Set([...rows, ...rows.flatMap((row) => Object.keys(matrix[row]))])];
  const head = element('tr', {}, element('th', { text: `${rowName} ↓  ${columnName} →` }),
    ...columns.map((name) => element('th', { text: name, scope: 'col' })), element('th', { text: 'all' }));
  const body = rows.map((row) => {
    const sum = Object.values(matrix[row]).reduce((a, b) => a + b, 0);
    return element('tr', {}, element('th', { text: row, scope: 'row' }), ...columns.map((column) => {
      const count = matrix[row][column] || 0;
      const cell = element('td', { text: count, className: row === column ? 'right' : '' });
      cell.style.background = `rgba(var(--heat), ${(0.5 * count / sum).toFixed(2)})`;
      return cell;
    }), element('td', { text: sum }));
  });
  return element('table', { className: 'matrix' }, element('thead', {}, head), element('tbody', {}, ...body));
}
