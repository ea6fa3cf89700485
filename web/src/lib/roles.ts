import { type Grant, ROLES } from "./types.ts";

/** What a role may do, in the table's order. */
export function grantsOf(table: Grant[], role: string): Grant[] {
  return table.filter((g) => g.roles.includes(role));
}

/** The roles that somebody with these permissions may give: nobody makes a mightier one than they are. */
export function offered(table: Grant[], mine: string[]): string[] {
  if (table.length === 0) return [];
  return ROLES.filter((r) => grantsOf(table, r).every((g) => mine.includes(g.permission)));
}

export const ROLE_TEXT: Record<string, string> = {
  owner: "Everything, the tenant’s deletion included.",
  admin: "Everything but deleting the tenant.",
  editor: "Sees everything, makes metrics, rules and channels, sends events.",
  viewer: "Sees everything, changes nothing.",
  ingest: "Only sends events: for keys inside applications.",
};

/** `["events:write", "events:read", "rules:read"]` by noun, in the order in which they come. */
export function byNoun(grants: Grant[]): { noun: string; grants: Grant[] }[] {
  const groups = new Map<string, Grant[]>();
  for (const g of grants) {
    const noun = g.permission.split(":")[0] ?? "";
    groups.set(noun, [...(groups.get(noun) ?? []), g]);
  }
  return [...groups].map(([noun, of]) => ({ noun, grants: of }));
}
