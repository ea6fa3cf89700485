/**
 * How long to wait before connection attempt number `attempt` (from 0): doubles from half a second up to 15 seconds. Half of it is
 * left to chance, so that the pages of a whole company do not come back in the same instant after a restart of the server.
 */
export function backoff(attempt: number, random: number): number {
  const full = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(full / 2 + (full / 2) * random);
}
