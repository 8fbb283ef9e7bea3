// Trivial jobs through graphile-worker, from the first one added to the last one done. Run by the benchmark, in a
// directory with graphile-worker and pg: node graphile.mjs URL JOBS BATCH ADDERS PROCESSES
//
// BATCH jobs are added by each call (1: add_job's way in), by ADDERS callers at once. PROCESSES processes work;
// the first of them adds as well.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

// One line for each job on standard output is no part of the comparison: Libra's log is off as well.
process.env.NO_LOG_SUCCESS = "1";

const [url, jobs, batch, adders, processes] = process.argv.slice(2);
const TASK = "noop";
const CONCURRENT = 24;
const quiet = { error: console.error, warn: console.error, info: () => {}, debug: () => {} };
const logger = new (await import("graphile-worker")).Logger(() => (level, message) => quiet[level]?.(message));

/** What its documentation's page on performance recommends for many small jobs. */
function start() {
  return run({
    connectionString: url,
    noHandleSignals: true,
    logger,
    taskList: { [TASK]: () => {} },
    preset: {
      worker: {
        concurrentJobs: CONCURRENT,
        maxPoolSize: CONCURRENT + 2,
        pollInterval: 2000,
        preparedStatements: true,
        localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
  });
}

if (process.send) {
  await start();
  process.send("ready");
  process.on("disconnect", () => process.exit(0));
} else {
  const utils = await makeWorkerUtils({ connectionString: url, logger });
  await utils.migrate();
  const children = [];
  for (let n = 1; n < Number(processes); n++) {
    const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2));
    await new Promise((ready) => child.once("message", ready));
    children.push(child);
  }
  const runner = await start();
  const pool = new pg.Pool({ connectionString: url, max: Number(adders) });
  const look = new pg.Client({ connectionString: url });
  await look.connect();

  const began = process.hrtime.bigint();
  const since = () => Number(process.hrtime.bigint() - began) / 1e9;
  let left = Number(jobs);
  const add = async () => {
    while (left > 0) {
      const count = Math.min(Number(batch), left);
      left -= count;
      if (count === 1) {
        await pool.query({ name: "one", text: "SELECT graphile_worker.add_job($1, '{}'::json)", values: [TASK] });
      } else {
        const specs = JSON.stringify(Array.from({ length: count }, () => ({ identifier: TASK, payload: {} })));
        await pool.query({
          name: "many",
          text: `SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(
            SELECT json_populate_recordset(null::graphile_worker.job_spec, $1::json)))`,
          values: [specs],
        });
      }
    }
  };
  await Promise.all(Array.from({ length: Number(adders) }, add));
  const added = since();
  for (;;) {
    const { rows } = await look.query("SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS more");
    if (!rows[0].more) break;
    await new Promise((later) => setTimeout(later, 10));
  }
  const done = since();
  console.log(JSON.stringify({ added, done }));
  for (const child of children) child.disconnect();
  await runner.stop();
  process.exit(0);
}
