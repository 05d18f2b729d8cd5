// The hub's pages: the pool, a job, a machine. Asks for data every other second, and shows it.

import { busySlots, gantt, itemsPerSecond } from "./charts.js";
import { bytes, duration, h, patch, rate, table, whole } from "./dom.js";

const PAUSE_MS = 1500;
const root = document.getElementById("app");
const [, kind, rawId] = location.pathname.split("/");
const id = decodeURIComponent(rawId || "");
const ALIVE = new Set(["waiting", "running", "paused"]);
let note = "";

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.status === 401 || answer.status === 403) {
    if (!body) location.reload(); // the hub's own page says how to log in
    throw new Error((await answer.text()).trim());
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

// A button that asks before it does something, and says what came of it.
function doer(label, spoken, question, path, body) {
  const onclick = async () => {
    if (!confirm(question)) return;
    try {
      await ask(path, body);
      note = "";
    } catch (error) {
      note = error.message;
    }
    refresh();
  };
  return h("button", { type: "button", onclick, "aria-label": spoken }, label);
}

const jobLink = (job, name) => h("a", { href: `/jobs/${encodeURIComponent(job)}` }, name || job.slice(0, 8));
const machineLink = (worker) => h("a", { href: `/machines/${encodeURIComponent(worker.id)}` }, worker.name);
const state = (text) => h(`span.state.${String(text).replace(/\W/g, "")}`, {}, text);

function progress(job) {
  if (!job.total) return "";
  const percent = Math.floor((100 * job.done) / job.total);
  return h("span.progress", {}, h("progress", { value: job.done, max: job.total, "aria-label": `${percent} % done` }),
    ` ${percent} %`);
}

function eta(job) {
  if (!ALIVE.has(job.state) || !job.total || !(job.items_per_second > 0)) return "";
  return `${duration((job.total - job.done) / job.items_per_second)} left`;
}

const cancelButton = (job, mayStop) => mayStop && ALIVE.has(job.state)
  ? doer("Cancel", `Cancel job ${job.name || job.id}`, `Cancel the job “${job.name || job.id}”? Finished results are kept.`,
    "/api/stop/job", { job: job.id })
  : "";

function cards(entries) {
  return h("dl.cards", {}, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function happened(event) {
  const where = event.worker ? ` ${event.worker}` : "";
  const verbs = { joined: "joined", gone: "has gone", submitted: "submitted", ended: "ended", crashed: "lost a process" };
  const about = event.job ? ["job ", jobLink(event.job, event.kind === "submitted" ? event.note : "")] : [];
  const rest = event.kind === "submitted" ? "" : event.note;
  return h("li", {}, h("span.quiet", {}, `${duration(event.seconds)} ago`), where, " ",
    event.worker ? [verbs[event.kind], about.length ? [" in ", about] : ""] : [about, ` ${verbs[event.kind]}`],
    rest ? `: ${rest}` : "");
}

const events = (list) => list.length ? h("ul.events", {}, list.slice(0, 30).map(happened)) : h("p.quiet", {}, "none");

const JOB_COLUMNS = [["job"], ["state"], ["progress"], ["done", "number"], ["of", "number.wide"],
  ["failed", "number"], ["items/s", "number"], ["time", "number.wide"], ["", ""]];

function jobRow(job, mayStop) {
  return [jobLink(job.id, job.name), state(job.state), progress(job), whole(job.done), whole(job.total), whole(job.failed),
    ALIVE.has(job.state) ? rate(job.items_per_second) : "", `${duration(job.elapsed_seconds)} ${eta(job)}`,
    cancelButton(job, mayStop)];
}

const WORKER_COLUMNS = [["machine"], ["state"], ["slots busy", "number"], ["speed", "number"], ["items done", "number"],
  ["load", "number.wide"], ["memory", "number.wide"], ["Python", "wide"], ["system", "wide"], ["joined", "number.wide"],
  ["fit (last job)", "wide"]];

function workerRow(worker) {
  const machine = worker.machine;
  return [machineLink(worker), state(worker.state), `${worker.busy} / ${worker.slots}`,
    worker.relative_speed ? worker.relative_speed.toFixed(2) : "", whole(worker.done), (worker.load || 0).toFixed(2),
    bytes(worker.memory_used_bytes), machine.python, `${machine.platform} ${machine.architecture}`,
    `${duration(worker.joined_seconds)} ago`, worker.fit || ""];
}

function poolPage(pool) {
  const { hub, workers, jobs } = pool;
  const running = jobs.filter((job) => ALIVE.has(job.state)).length;
  return [
    h("h1", {}, "Pool"),
    cards([["machines", whole(workers.length + pool.more_workers)], ["slots busy", `${whole(hub.busy)} / ${whole(hub.slots)}`],
      ["items/s", rate(hub.items_per_second)], ["items queued", whole(hub.queued)], ["jobs", whole(running)],
      ["notebooks", whole(hub.notebooks)]]),
    workers.length ? null : h("p", {}, "No machine has joined: ", h("code", {}, "%distribute invite"),
      " in a notebook, or ", h("code", {}, "nbdist invite"), ", shows the line that adds one."),
    h("section.two", {}, h("figure", {}, h("figcaption", {}, "items per second"), itemsPerSecond(pool.throughput)),
      h("figure", {}, h("figcaption", {}, "busy slots"), busySlots(pool.throughput))),
    h("h2", {}, "Jobs"), table("Jobs", JOB_COLUMNS, jobs.map((job) => jobRow(job, pool.may_stop)), pool.more_jobs),
    h("h2", {}, "Machines"), table("Machines", WORKER_COLUMNS, workers.map(workerRow), pool.more_workers),
    h("h2", {}, "Lately"), events(pool.events),
    h("p.quiet", {}, `nbdist ${pool.version}, start ${whole(hub.epoch)} of this hub`),
  ];
}

function outputOf(output) {
  if (!output.pieces.length) return h("p.quiet", {}, "nothing (of the items that ran since this hub was started)");
  const parts = [];
  let last = "";
  for (const [worker, item, text] of output.pieces) {
    const from = `${worker}, item ${item}`;
    if (from !== last) parts.push(h("b", {}, `${parts.length ? "\n" : ""}${from}\n`));
    parts.push(text);
    last = from;
  }
  return [output.is_cut ? h("p.quiet", {}, "the end of it") : null,
    h("pre", { tabindex: 0, role: "region", "aria-label": "output" }, parts)];
}

function jobPage(found) {
  const { job, machines, failures } = found;
  document.title = `${job.name || job.id}: nbdist`;
  return [
    h("h1", {}, job.name || job.id, " ", state(job.state)),
    h("p", {}, progress(job), " ", cancelButton(job, found.may_stop)),
    job.reason ? h("p.note", {}, job.reason) : null,
    cards([["done", whole(job.done)], ["of", whole(job.total) || "?"], ["failed", whole(job.failed)],
      ["running", whole(job.running)], ["items/s", rate(job.items_per_second)], ["time", duration(job.elapsed_seconds)],
      ["left", eta(job).replace(" left", "") || "–"]]),
    h("h2", {}, "Timeline"), gantt(found.timeline),
    h("h2", {}, "Machines"), machines.length ? table("Machines of this job",
      [["machine"], ["state"], ["slots", "number"], ["done", "number"], ["items/s", "number"], ["at items", "wide"], ["why"]],
      machines.map((row) => [row.name, state(row.state), whole(row.slots), whole(row.done), rate(row.items_per_second),
        row.running.slice(0, 8).join(", "), row.reason])) : h("p.quiet", {}, "none works on it"),
    h("h2", {}, "Failures"), table("Failures", [["item", "number"], ["machine"], ["what"]],
      failures.map((row) => [whole(row.item), row.worker, row.text || "its notebook has the reason"]),
      job.failed - failures.length),
    h("h2", {}, "Output"), outputOf(found.output),
    h("details", {}, h("summary", {}, "History"), table("History of the job",
      [["second", "number"], ["what"], ["items"], ["machine"], ["note"]],
      found.events.map((event) => [event.time.toFixed(3), event.kind,
        event.stop > event.start ? `${event.start} to ${event.stop - 1}` : "", event.worker, event.note]))),
    h("p.quiet", {}, `job ${job.id}`),
  ];
}

function machinePage(found) {
  const { worker, slots } = found;
  const machine = worker.machine;
  document.title = `${worker.name}: nbdist`;
  const body = (atOnce) => ({ machine: worker.id, at_once: atOnce });
  return [
    h("h1", {}, worker.name, " ", state(worker.state)),
    found.may_stop && worker.state !== "leaving" ? h("p", {},
      doer("Let it finish, then leave", `Let ${worker.name} finish its items and leave`,
        `Let ${worker.name} finish its running items and leave the pool?`, "/api/stop/machine", body(false)), " ",
      doer("Leave now", `Let ${worker.name} leave now`,
        `Let ${worker.name} leave now? Its running items begin anew on other machines.`, "/api/stop/machine", body(true))) : null,
    cards([["slots busy", `${worker.busy} / ${worker.slots}`], ["speed", (worker.relative_speed || 0).toFixed(2)],
      ["items done", whole(worker.done)], ["load", (worker.load || 0).toFixed(2)],
      ["memory", [bytes(worker.memory_used_bytes), machine.memory_bytes ? ` of ${bytes(machine.memory_bytes)}` : ""].join("")],
      ["joined", `${duration(worker.joined_seconds)} ago`], ["heard", `${duration(worker.heard_seconds)} ago`]]),
    h("p", {}, `${machine.implementation} ${machine.python}, ${machine.platform} ${machine.architecture}, ` +
      `${whole(machine.cores)} cores, nbdist ${machine.nbdist}, ${machine.hostname}` +
      (machine.gpus.length ? `, ${machine.gpus.join(", ")}` : "")),
    h("h2", {}, "Slots"), table("Slots", [["slot", "number"], ["job"], ["item", "number"], ["since", "number"]],
      slots.map((slot, at) => slot ? [at, jobLink(slot.job), whole(slot.item), duration(slot.seconds)] : [at, "idle", "", ""])),
    h("h2", {}, "Jobs"), table("Its part in jobs", [["job"], ["state"], ["done", "number"], ["items/s", "number"], ["why"]],
      found.jobs.map((row) => [jobLink(row.id, ""), state(row.state), whole(row.done), rate(row.items_per_second), row.reason])),
    h("h2", {}, "Lately"), events(found.events),
  ];
}

const PAGES = {
  "": [() => "/api/view/pool", poolPage],
  jobs: [() => `/api/view/job?id=${encodeURIComponent(id)}`, jobPage],
  machines: [() => `/api/view/machine?id=${encodeURIComponent(id)}`, machinePage],
};

// `content` makes the elements: they are shown again, with a new note, while the hub is away.
function show(content) {
  const nav = h("nav", {}, kind ? h("a", { href: "/" }, "← the pool") : h("b", {}, "nbdist"));
  const status = h("p.note", { role: "status", "aria-live": "polite" }, note);
  patch(root, h("div", { id: "app" }, nav, h("main", {}, content()), status));
}

let shown = () => [];
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  try {
    const [path, page] = PAGES[kind] || PAGES[""];
    const found = await ask(path());
    shown = () => page(found);
    if (note.startsWith("The hub does not answer")) note = "";
    show(shown);
  } catch (error) {
    const isAway = error instanceof TypeError;
    note = isAway ? "The hub does not answer: trying again." : error.message;
    show(isAway ? shown : () => []);
  }
  timer = setTimeout(refresh, PAUSE_MS);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
refresh();
