// A synchronisation started from this page. It outlives the view that shows it.

import { ApiError, call, insideMikoPbx } from './api.js';
import { isRunning } from './status.js';

/** Status answers without news of the run after which a lost request counts as failed. */
const PATIENCE = 10;

/**
 * `state` is `running`, `done` (with `rows` and `summary`), `ended` (the worker made the run: `runId`, `summary`, and
 * `ended`, the run's state), `recorded` (the answer was lost but the history has the run: the same as `ended`) or
 * `failed` (with `error`).
 */
export class SyncJob {
  /** `order` is what is asked for: `{ heldRunId }` to approve what is held, `{ planId }` to apply a preview, or all. */
  constructor(serverId, status, order = {}) {
    this.serverId = serverId;
    this.status = status;
    this.order = order;
    this.state = 'running';
    this.listeners = new Set();
    this.finished = this.run();
  }

  /** Calls `listener` now and when the state changes, until `signal` is aborted. */
  subscribe(listener, signal) {
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener));
    listener(this);
  }

  async run() {
    const before = this.runId();
    this.status.expectingRun += 1;
    this.status.refresh();
    try {
      if (insideMikoPbx()) {
        await this.askWorker();
        return;
      }
      const answer = await this.carryOut();
      this.become('done', { rows: answer.data || [], summary: answer.info[0] || '', notes: answer.info.slice(1) });
    } catch (error) {
      if (error.kind === 'unreachable') await this.followHistory(before, error);
      else this.become('failed', { error });
    } finally {
      this.status.expectingRun -= 1;
      this.status.reload();
    }
  }

  carryOut() {
    const { heldRunId, planId } = this.order;
    if (heldRunId !== undefined) return call('approve-held-run', { runId: heldRunId });
    return planId ? call('apply-plan', { planId }) : call('sync-ldap-users', { id: this.serverId });
  }

  /** MikoPBX has few processes for requests and ends them soon, so there the worker makes the run. */
  async askWorker() {
    const { runId } = (await call('start-sync', { id: this.serverId, ...this.order })).data;
    let problem = new ApiError('unreachable');
    for (let misses = 0; misses < PATIENCE;) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      this.status.refresh();
      const run = await this.recordedRun(runId).catch((error) => { problem = error; });
      if (run && !['queued', 'running'].includes(run.state)) {
        this.become('ended', recordOf(run));
        return;
      }
      misses = run ? 0 : misses + 1;
    }
    this.become('failed', { error: problem });
  }

  /** The run as the history has it; other runs of the server may wait beside it. */
  async recordedRun(runId) {
    return (await call('get-runs', { id: this.serverId })).data.find((run) => run.runId === runId);
  }

  /** A lost answer (a proxy's time limit, a closed lid) does not end a run: what became of it stands in the status. */
  async followHistory(before, error) {
    for (let misses = 0; misses < PATIENCE;) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await this.status.refresh();
      const server = this.status.error ? null : this.status.server(this.serverId);
      if (isRunning(server)) {
        misses = 0;
      } else if (server && server.lastRun && server.lastRun.runId !== before) {
        this.become('recorded', recordOf(server.lastRun));
        return;
      } else {
        misses += 1;
      }
    }
    this.become('failed', { error });
  }

  runId() {
    const server = this.status.server(this.serverId);
    return server && server.lastRun ? server.lastRun.runId : null;
  }

  become(state, parts) {
    Object.assign(this, parts, { state });
    this.listeners.forEach((listener) => listener(this));
  }
}

function recordOf(run) {
  return { runId: run.runId, ended: run.state, summary: run.error || run.summary || '' };
}
