'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const EVERY = 5000;
  const SVG = 'http://www.w3.org/2000/svg';

  // Elements are made one by one and texts are set as texts: nothing that a server or client wrote becomes markup.
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const put = (id, text) => {
    if ($(id).textContent !== text) $(id).textContent = text;
  };

  const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
  const number = (value) => {
    if (value >= 99.95) return whole.format(value);
    return value >= 9.995 || Number.isInteger(value) ? value.toFixed(value % 1 ? 1 : 0) : value.toFixed(2);
  };
  const share = (part, all) => {
    if (all <= 0) return '–';
    if (part === 0 || part === all) return part === 0 ? '0 %' : '100 %';
    const percent = (100 * part) / all;
    return percent < 0.01 ? '< 0.01 %' : `${Math.min(99.99, percent).toFixed(percent < 0.1 || percent > 99.9 ? 2 : 1)} %`;
  };
  // Commands stand between backticks in the server's sentences.
  const sentence = (text) => text.split('`').map((part, n) => (n % 2 ? make('code', {}, part) : part));
  const bytes = (value) => {
    if (value < 1024) return `${value} B`;
    const step = Math.min(3, Math.floor(Math.log2(value) / 10));
    return `${number(value / 1024 ** step)} ${['', 'KiB', 'MiB', 'GiB'][step]}`;
  };
  const micros = (value) => {
    if (value < 1000) return `${Math.round(value)} µs`;
    return value < 1e6 ? `${number(value / 1000)} ms` : `${number(value / 1e6)} s`;
  };
  const age = (seconds) => {
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
  };

  // The token, where the server wants one, lives in this tab alone.
  const token = () => sessionStorage.getItem('pldns-token');
  class Refused extends Error {}
  const get = async (path, signal) => {
    const headers = { Accept: 'application/json' };
    if (token()) headers.Authorization = `Bearer ${token()}`;
    const reply = await fetch(path, { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
    if (reply.status === 401) throw new Refused('The token is missing or wrong.');
    const body = await reply.json();
    if (!reply.ok) throw new Error(body.error || `HTTP status ${reply.status}`);
    return body;
  };
  const trouble = (text) => {
    $('trouble').hidden = !text;
    put('trouble', text || '');
  };

  /* Charts: lines over the last hour, drawn at the size that they have. */
  const GROUPS = [
    ['Records', ['record', 'wildcard', 'partial_wildcard', 'reverse', 'zone', 'built_in']],
    ['Cache', ['cache']],
    ['Upstream', ['upstream']],
    ['Stale', ['stale']],
    ['Failed', ['failure']],
    ['Refused', ['refused', 'dropped']],
  ];
  const PATHS = [['Records', 'records'], ['Cache', 'cache'], ['Forwarded', 'forwarded']];
  const BOX = { left: 52, right: 8, top: 8, bottom: 22 };
  let history = null;

  const ticks = (most) => {
    const step = 10 ** Math.floor(Math.log10(most));
    const size = [1, 2, 5, 10].map((times) => (times * step) / 5).find((size) => most / size <= 5) || step * 2;
    const count = Math.max(1, Math.ceil(most / size));
    return Array.from({ length: count + 1 }, (_, n) => n * size);
  };

  // A young server's history is shown larger.
  const SPANS = [6, 15, 30, 60];
  const chart = (svg, series, times, scale) => {
    const { width, height } = svg.getBoundingClientRect();
    if (width === 0) return;
    const [right, bottom] = [width - BOX.right, height - BOX.bottom];
    const minutes = SPANS.find((span) => (times[0] || 0) <= span * 60) || 60;
    const x = (seconds) => right - (seconds / (minutes * 60)) * (right - BOX.left);
    const y = (value) => bottom - scale.place(value) * (bottom - BOX.top);
    const parts = [];
    for (const tick of scale.ticks) {
      parts.push(draw('line', { class: 'grid', x1: BOX.left, x2: right, y1: y(tick), y2: y(tick) }));
      parts.push(draw('text', { x: BOX.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, scale.text(tick)));
    }
    const marks = width < 420 ? 3 : { 6: 6, 60: 4 }[minutes] || 5;
    for (let n = 0; n <= marks; n += 1) {
      const [before, anchor] = [(minutes * (marks - n)) / marks, n === 0 ? 'start' : n === marks ? 'end' : 'middle'];
      parts.push(draw('text', { x: x(before * 60), y: height - 4, 'text-anchor': anchor }, before ? `−${before} min` : 'now'));
    }
    for (const { values, place } of series) {
      let run = [];
      const flush = () => {
        if (run.length === 1) run.push(run[0]);
        if (run.length) parts.push(draw('polyline', { class: `s${place}`, points: run.join(' ') }));
        run = [];
      };
      values.forEach((value, n) => {
        if (value === null || times[n] > minutes * 60) flush();
        else run.push(`${x(times[n]).toFixed(1)},${y(value).toFixed(1)}`);
      });
      flush();
    }
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    svg.replaceChildren(...parts);
  };

  const legend = (list, series, show) => {
    list.replaceChildren(...series.map(({ name, place, now }) =>
      make('li', {}, make('i', { class: `s${place}` }), name, make('b', {}, now === null ? '–' : show(now)))));
  };

  const paint = () => {
    if (!history) return;
    const spans = history.milliseconds.map((value) => value / 1000);
    // Seconds before now of each sample's middle; the newest, of a moment only, says too little.
    const times = [];
    spans.reduceRight((end, span, n) => { times[n] = end + span / 2; return end + span; }, 0);
    const count = spans.length;
    const enough = spans.map((span, n) => span >= (n + 1 === count ? 2 : 0.5));
    const sum = (columns) => spans.map((_, n) => columns.reduce((all, key) => all + (history.answered[key] || history[key])[n], 0));
    const groups = GROUPS.map(([name, columns], place) => {
      const counts = sum(columns);
      const values = counts.map((value, n) => (enough[n] ? value / spans[n] : null));
      return { name, place, counts, values, now: values.filter((value) => value !== null).pop() ?? null };
    });
    const shown = groups.filter(({ place, counts }) => place < 3 || counts.some((value) => value > 0));
    const most = Math.max(1, ...shown.flatMap(({ values }) => values));
    const marks = ticks(most);
    const top = marks[marks.length - 1];
    chart($('rate-chart'), shown, times, { ticks: marks, place: (value) => value / top, text: number });
    legend($('rate-legend'), shown, number);
    put('rate-text', shown.map(({ name, now }) => `${name}: ${now === null ? 'none' : number(now)} a second`).join(', '));

    const percentile = document.querySelector('input[name=percentile]:checked').value;
    const paths = PATHS.map(([name, key], place) => {
      const values = history.latency_us[key][percentile].map((value, n) => (enough[n] ? value : null));
      return { name, place, values, now: values.filter((value) => value !== null).pop() ?? null };
    });
    const all = paths.flatMap(({ values }) => values).filter((value) => value !== null && value > 0);
    const low = Math.floor(Math.log10(Math.min(10, ...all)));
    const high = Math.max(low + 3, Math.ceil(Math.log10(Math.max(10, ...all))));
    const decades = Array.from({ length: high - low + 1 }, (_, n) => 10 ** (low + n));
    const place = (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
    chart($('latency-chart'), paths, times, { ticks: decades, place, text: micros });
    legend($('latency-legend'), paths, micros);
    put('latency-text', paths.map(({ name, now }) => `${name}: ${now === null ? 'none' : micros(now)}`).join(', '));

    const total = (columns) => sum(columns).reduce((a, b) => a + b, 0);
    const hour = GROUPS.map(([, columns]) => total(columns));
    const answered = hour.slice(0, 5).reduce((a, b) => a + b, 0);
    const last = groups.map(({ now }) => now ?? 0).reduce((a, b) => a + b, 0);
    const forwarded = answered - hour[0];
    put('f-rate', number(last));
    put('f-records', share(hour[0], answered));
    put('f-cache', share(hour[1], forwarded));
    put('f-failed', share(hour[4], answered));
    const long = Math.min(3600, spans.reduce((a, b) => a + b, 0));
    const span = long > 3500 ? 'the last hour' : `the last ${age(long)}`;
    put('f-records-note', `of ${span}`);
    put('f-failed-note', `of ${span}`);
  };

  /* What the server is like now. */
  const FINDINGS = 5;
  const STATES = { ok: 'good', up: 'good', ready: 'good', off: '', starting: 'warn', stopping: 'warn', failing: 'bad', rejected: 'bad', down: 'bad', stuck: 'bad' };
  const WORDS = { stopping: 'draining' };
  const pill = (word) => make('span', { class: `pill ${STATES[word] || ''}` }, WORDS[word] || word);
  const used = (value, most, label) =>
    most ? make('span', {}, `${number(value)} / ${whole.format(most)}`, make('meter', { min: 0, max: most, high: most * 0.9, value: Math.min(value, most), 'aria-label': label })) : number(value);
  const facts = (id, rows) => {
    $(id).replaceChildren(...rows.filter(Boolean).flatMap(([term, value, isWhole]) =>
      [make('dt', {}, term), make('dd', isWhole ? { class: 'whole quiet' } : {}, value)]));
  };

  const showStatus = (status) => {
    put('version', status.version);
    const word = status.stuck ? 'stuck' : status.state;
    $('ready').className = `pill ${STATES[word]}`;
    put('ready', WORDS[word] || word);
    put('uptime', `up ${age(status.uptime_seconds)}, ${status.workers} ${status.workers === 1 ? 'worker' : 'workers'}`);
    const up = status.upstreams.filter((one) => one.state === 'up').length;
    put('f-upstreams', status.upstreams.length ? `${up} / ${status.upstreams.length}` : '–');
    put('f-findings', whole.format(status.finding_count));

    const rows = status.upstreams.map((one) => make('tr', {},
      make('th', { scope: 'row', class: 'mono' }, one.upstream),
      make('td', {}, pill(one.state)),
      make('td', { class: 'n' }, one.rtt_seconds === null ? '–' : micros(one.rtt_seconds * 1e6)),
      make('td', { class: 'n' }, used(one.queries_per_second, one.queries_per_second_max, 'Queries a second of the budget')),
      make('td', { class: 'n' }, used(one.pending, one.pending_max, 'Pending of the budget')),
      make('td', { class: 'n' }, whole.format(one.waiting)),
      make('td', {}, one.last_error ? `${one.last_error.text}, ${age(one.last_error.age_seconds)} ago` : '–')));
    if (!rows.length) rows.push(make('tr', {}, make('td', { colspan: 7, class: 'quiet' }, 'No upstream was asked yet.')));
    $('upstreams').replaceChildren(...rows);

    const { reload, table, discover, cache, memory } = status;
    facts('reload', [
      ['Last reload', pill(reload.state)],
      ['Serving since', `${age(reload.age_seconds)} ago`],
      ['Generation', whole.format(reload.generation)],
      ['Records', whole.format(table.records)],
      ['Names', whole.format(table.names)],
      ['Problems', whole.format(reload.problem_count)],
      ...reload.problems.slice(0, 3).map((problem) => ['', problem.split('\n')[0], true]),
    ]);
    facts('discover', [
      ['State', pill(discover.state)],
      ['Last complete round', discover.age_seconds === null ? '–' : `${age(discover.age_seconds)} ago`],
      ['Records', whole.format(discover.records)],
      ['Overridden by files', whole.format(discover.overridden)],
      ['Drift', whole.format(discover.drift)],
      discover.reason && ['', discover.reason, true],
    ]);
    facts('memory', [
      ['Answers cached', whole.format(cache.entries)],
      ['Cache', make('span', {}, `${bytes(cache.bytes)} / ${bytes(cache.max_bytes)}`)],
      ['Memory', memory.resident_bytes === null ? '–' : bytes(memory.resident_bytes)],
      ['Bound of this configuration', bytes(memory.bound_bytes)],
      ['Client connections', whole.format(status.connections)],
      status.certificate_expires && ['Certificate expires', new Date(status.certificate_expires * 1000).toISOString().slice(0, 10)],
    ]);

    const findings = status.findings.map((one) => make('li', { class: one.is_serious ? 'bad' : null },
      make('p', {}, one.name ? link(one.name, one.client) : make('span', { class: 'mono' }, one.subject), ' ',
        make('span', { class: 'quiet' }, `${one.kind.replaceAll('_', ' ')}${one.age_seconds === null ? '' : `, ${age(one.age_seconds)} ago`}`)),
      make('p', {}, ...sentence(one.reason)),
      make('p', { class: 'quiet' }, ...sentence(one.fix))));
    if (!findings.length) findings.push(make('li', { class: 'none' }, 'Nothing found.'));
    const more = findings.splice(FINDINGS);
    $('findings').replaceChildren(...findings);
    $('more-findings').replaceChildren(...more);
    $('findings-rest').hidden = !more.length;
    const unseen = status.finding_count - status.findings.length;
    put('findings-more', `${whole.format(more.length)} more${unseen > 0 ? `, and ${whole.format(unseen)} in /drift` : ''}`);
  };

  /* Explain. */
  const link = (name, client) => {
    const button = make('button', { type: 'button', class: 'mono', title: 'Explain this name' }, name);
    button.addEventListener('click', () => {
      $('name').value = name;
      $('type').value = 'A';
      $('client').value = client || '';
      $('explain').requestSubmit();
      $('explain').scrollIntoView({ block: 'center' });
      $('name').focus({ preventScroll: true });
    });
    return button;
  };
  const VERDICTS = { private: 'good', public: 'bad', mixed: 'bad', failed: 'bad', refused: 'bad', nodata: 'warn', nxdomain: 'warn' };
  let asking = null;

  const explain = async (event) => {
    event.preventDefault();
    asking?.abort();
    asking = new AbortController();
    const box = $('explained');
    box.setAttribute('aria-busy', 'true');
    const query = new URLSearchParams({ name: $('name').value.trim(), type: $('type').value, ask: 'true' });
    if ($('client').value.trim()) query.set('client', $('client').value.trim());
    try {
      const said = await get(`/explain?${query}`, asking.signal);
      const verdict = said.verdict || 'not known';
      const steps = said.steps.map((step) => make('li', {}, make('span', { class: 'quiet' }, step.step), make('span', { class: 'mono' }, stepText(step))));
      box.replaceChildren(
        make('p', { class: 'verdict' }, make('span', { class: `pill ${VERDICTS[verdict] || ''}` }, verdict), make('span', { class: 'mono' }, `${said.name} ${said.type}`), make('span', { class: 'quiet' }, `for ${said.client}${said.source ? `, from ${said.source.replaceAll('_', ' ')}` : ''}`)),
        make('dl', { class: 'why' }, make('dt', {}, 'Reason'), make('dd', {}, ...sentence(said.reason)), ...(said.fix ? [make('dt', {}, 'Fix'), make('dd', {}, ...sentence(said.fix))] : [])),
        said.answer.length ? make('p', { class: 'mono answer' }, said.answer.join('\n')) : '',
        make('details', {}, make('summary', {}, `${steps.length} steps`), make('ol', { class: 'steps' }, ...steps)));
    } catch (error) {
      if (error.name === 'AbortError') return;
      box.replaceChildren(make('p', { class: 'verdict' }, make('span', { class: 'pill bad' }, 'error'), error.message));
    }
    box.setAttribute('aria-busy', 'false');
  };
  const servers = (upstreams) => upstreams.map((one) => `${one.upstream} (${one.state}${one.waiting ? `, ${one.waiting} waiting` : ''})`).join(', ');
  const stepText = (step) => {
    const place = step.file ? `, ${step.file}:${step.line}` : '';
    switch (step.step) {
      case 'access': return step.allowed ? 'allowed' : 'not allowed';
      case 'table': {
        const hidden = step.hidden.map((one) => `; ${one.owner} ${one.type} is for clients in ${one.networks.join(', ')}`).join('');
        const by = step.owner && step.owner !== step.name ? ` by ${step.owner}` : '';
        return `${step.name}: ${step.found.replaceAll('_', ' ')}${by}${step.target ? `, CNAME ${step.target}` : ''}${place}${hidden}`;
      }
      case 'rule': return `${step.name}: ${step.rule.replaceAll('_', ' ')}, zone ${step.zone || '.'}${step.upstreams.length ? ` to ${servers(step.upstreams)}` : ''}`;
      case 'cache': return `${step.name}: ${step.state}${step.rcode ? `, ${step.rcode}, ${step.age_seconds} s old, TTL ${step.ttl_seconds} s` : ''}`;
      case 'upstream': return `${step.name}: ${step.upstream} over ${step.over}, ${step.milliseconds.toFixed(1)} ms: ${step.error || step.rcode}${step.answer.length ? `; ${step.answer.join('; ')}` : ''}`;
      case 'alias': return `${step.target}: ${step.responsible.replaceAll('_', ' ')}${step.zone ? ` ${step.zone}` : ''}${step.upstreams.length ? ` to ${servers(step.upstreams)}` : ''}`;
      case 'guard': return `public address, though ${step.name} has a record here: ${step.action}`;
      case 'privatelink': return `${step.name} has no record here`;
      case 'client': return step.seen ? `its last query came ${step.minutes ? `${step.minutes} min ago` : 'in the last minutes'}` : `no query of it since the server started ${step.minutes} min ago`;
      default: return step.target || step.name || '';
    }
  };

  /* Records: pages forward, remembered starts backward. One request searches a part of the table only. */
  const ROWS = 25;
  const PARTS = 400;
  let starts = [0];
  let following = null;
  let searching = null;

  const records = async () => {
    searching?.abort();
    const mine = new AbortController();
    searching = mine;
    const wanted = $('query').value.trim();
    const found = [];
    let offset = starts[starts.length - 1];
    let after = null;
    try {
      for (let part = 0; part < PARTS; part += 1) {
        const query = new URLSearchParams({ offset, limit: ROWS - found.length });
        if (wanted) query.set('search', wanted);
        const page = await get(`/records?${query}`, mine.signal);
        found.push(...page.sets);
        after = page.next;
        offset = page.next;
        if (found.length >= ROWS || after === null || !wanted) break;
        put('records-note', `Searched ${whole.format(after)} of ${whole.format(page.record_sets)} record sets …`);
      }
    } catch (error) {
      if (error.name === 'AbortError') return;
      put('records-note', error.message);
      return;
    }
    following = after;
    const rows = found.map((set) => make('tr', {},
      make('td', { class: 'name mono' }, link(set.name)),
      make('td', {}, set.type),
      make('td', { class: 'n' }, String(set.ttl)),
      make('td', { class: 'data mono' }, set.data.join(', ')),
      make('td', { class: 'mono' }, set.clients.join(', ')),
      make('td', { class: 'mono' }, set.file ? `${set.file.split('/').pop()}:${set.line}` : '')));
    if (!rows.length) rows.push(make('tr', {}, make('td', { colspan: 6, class: 'quiet' }, wanted ? 'No record set fits.' : 'The table is empty.')));
    $('records').replaceChildren(...rows);
    $('previous').disabled = starts.length < 2;
    $('next').disabled = following === null;
    put('records-note', `Page ${starts.length}${following === null ? ', the last' : ''}`);
  };

  /* All of it, again and again while the page is open. */
  let timer = null;
  let heard = null;
  const refresh = async () => {
    clearTimeout(timer);
    try {
      const [status, samples] = await Promise.all([get('/status'), get('/history')]);
      const isFirst = $('main').hidden;
      history = samples;
      // Shown whole, so that nothing moves afterwards.
      if (isFirst) await records();
      showStatus(status);
      heard = Date.now();
      trouble('');
      $('token').hidden = true;
      $('main').hidden = false;
      $('footer').hidden = false;
      $('state').className = '';
      paint();
      if (isFirst) $('name').focus({ preventScroll: true });
    } catch (error) {
      $('state').className = '';
      if (error instanceof Refused) {
        trouble(token() ? error.message : '');
        sessionStorage.removeItem('pldns-token');
        $('main').hidden = true;
        $('token').hidden = false;
        put('ready', 'token needed');
        $('secret').focus();
        return;
      }
      trouble(`The server does not answer: ${error.message}`);
      $('ready').className = 'pill bad';
      put('ready', 'no answer');
    }
    if (!document.hidden) timer = setTimeout(refresh, EVERY);
  };

  $('explain').addEventListener('submit', explain);
  $('token').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem('pldns-token', $('secret').value.trim());
    $('secret').value = '';
    refresh();
  });
  let typing = null;
  $('query').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => { starts = [0]; records(); }, 250);
  });
  $('search').addEventListener('submit', (event) => { event.preventDefault(); starts = [0]; records(); });
  $('next').addEventListener('click', () => { if (following !== null) { starts.push(following); records(); } });
  $('previous').addEventListener('click', () => { if (starts.length > 1) { starts.pop(); records(); } });
  document.querySelectorAll('input[name=percentile]').forEach((one) => one.addEventListener('change', paint));
  new ResizeObserver(paint).observe($('rate-chart'));
  document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else refresh(); });
  setInterval(() => put('age', heard ? `updated ${age((Date.now() - heard) / 1000)} ago` : ''), 1000);
  refresh();
})();
