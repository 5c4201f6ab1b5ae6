// What the servers are doing, asked again every second while a run is under way.

import { call } from './api.js';

const BUSY_MS = 1000;
const IDLE_MS = 15000;

/** Polls `get-status` and tells its listeners `{ data, error }`; `data` is the last good answer. */
export class StatusWatch {
  constructor() {
    this.data = null;
    this.error = null;
    this.listeners = new Set();
    this.expectingRun = 0;
    this.timer = null;
    this.pending = null;
    document.addEventListener('visibilitychange', () => !document.hidden && this.refresh());
  }

  /** Calls `listener` now and after each answer, until `signal` is aborted. */
  subscribe(listener, signal) {
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener));
    if (this.data || this.error) listener(this);
    this.refresh();
  }

  /** Asks now. Two callers share one request. */
  refresh() {
    clearTimeout(this.timer);
    this.pending = this.pending || this.ask();
    return this.pending;
  }

  /** Asks again after a change; an answer already on its way may be older than the change. */
  async reload() {
    await this.pending;
    return this.refresh();
  }

  async ask() {
    try {
      this.data = (await call('get-status')).data;
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.pending = null;
    this.listeners.forEach((listener) => listener(this));
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    if (document.hidden && !this.expectingRun) return;
    this.timer = setTimeout(() => this.refresh(), this.isBusy() ? BUSY_MS : IDLE_MS);
  }

  isBusy() {
    return this.expectingRun > 0 || this.servers().some(isRunning);
  }

  /** The servers of the last good answer. */
  servers() {
    return (this.data && this.data.servers) || [];
  }

  /** The server with this id, or undefined. */
  server(id) {
    return this.servers().find((server) => String(server.id) === String(id));
  }
}

/** Whether a run of this server is under way. */
export function isRunning(server) {
  return Boolean(server && server.lastRun && server.lastRun.state === 'running');
}

/** Whether a run of this server was asked for and has not begun. */
export function isQueued(server) {
  return Boolean(server && server.lastRun && server.lastRun.state === 'queued');
}

/** What to call a server in a sentence. */
export function serverTitle(server) {
  return server.server || `#${server.id}`;
}
