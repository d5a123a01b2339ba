import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OperationNames } from "../../../../services/agent/protocol/operation-names.ts";
import { sqlNames } from "../../../../services/agent/protocol/sql-shape.ts";

function names(text: string, escapes: "always" | "marked" = "marked"): readonly string[] {
  const data = Buffer.from(text, "latin1");
  return sqlNames(new OperationNames(), { data, from: 0, to: data.length, escapes });
}

describe("the name of a statement", () => {
  it.each([
    ["select * from Orders where id = 7", "SELECT orders"],
    ['SELECT 1 FROM "Public"."Orders"', "SELECT public.orders"],
    ["/* hint */ -- line\n select a from shop.items", "SELECT shop.items"],
    ["select extract(year from created) from orders", "SELECT orders"],
    ["select (select max(id) from a) from b", "SELECT b"],
    ["select * from (select * from inner_table) t", "SELECT inner_table"],
    ["select 'from secret', x from visible", "SELECT visible"],
    ["select 'C:\\' from paths", "SELECT paths"],
    ["select E'it\\'s from secret' from visible", "SELECT visible"],
    ["select $$from secret$$ from visible", "SELECT visible"],
    ["select $1::text", "SELECT"],
    ["insert into orders (a) values ('x')", "INSERT orders"],
    ["update only orders set a = 1", "UPDATE orders"],
    ["delete from orders", "DELETE orders"],
    ["with x as (select * from a) insert into b select * from x", "INSERT b"],
    ["create table if not exists logs_20240101 (a int)", "CREATE logs_{n}"],
    ["create index on orders (id)", "CREATE"],
    ["drop table orders", "DROP orders"],
    ["truncate table orders", "TRUNCATE orders"],
    ["copy orders from stdin", "COPY orders"],
    ["BEGIN", "BEGIN"],
    ["set password = 'hunter2'", "SET"],
    ["hunter2", "other"],
    ["(select 1 from a)", "SELECT a"],
  ])("%s is %s", (text, expected) => {
    expect(names(text)).toEqual([expected]);
  });

  it("tells the statements of one text apart, semicolons in strings not counted", () => {
    expect(names("select 1; select ';' from a;; delete from b;")).toEqual(["SELECT", "SELECT a", "DELETE b"]);
    expect(names("  ;  ")).toEqual([]);
  });

  it("knows MySQL's quotes", () => {
    expect(names('select "from secret" from `Shop`.`Orders`', "always")).toEqual(["SELECT shop.orders"]);
    expect(names("select 'it\\'s from secret' from visible", "always")).toEqual(["SELECT visible"]);
  });

  it("never throws and never shows a string's text, however it is cut", () => {
    fc.assert(
      fc.property(fc.nat({ max: 80 }), (length) => {
        const text = "select 'geheim', $q$geheim$q$, E'\\'geheim' from orders where a = 'geheim' -- geheim".slice(0, length);
        expect(names(text).join()).not.toContain("geheim");
      }),
    );
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 4_000 }),
        (data) => sqlNames(new OperationNames(), { data, from: 0, to: data.length, escapes: "marked" }).length <= 16,
      ),
    );
  });
});
