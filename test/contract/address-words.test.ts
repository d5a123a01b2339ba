import { expect, it } from "vitest";
import { addressWords, withAddresses } from "../../contract/address-words.ts";
import { sampleIncident, sampleSnapshot } from "../report/sample-incident.ts";

it("shows real addresses where sealed commands have words for them, in every verdict, and changes nothing else", () => {
  const { incident } = sampleIncident(sampleSnapshot());
  const [verdict] = incident.verdicts;
  if (verdict === undefined) throw new Error("the sample has no verdict");
  const spot = { what: "w", cost: "c", command: `a=${addressWords.otlpUrl} ${addressWords.apiUrl}/x ${addressWords.apiUrl}` };
  const sealed = { ...incident, verdicts: [verdict, { ...verdict, result: { ...verdict.result, blindSpots: [spot] } }] };
  const shown = withAddresses(sealed, { otlpUrl: "http://o:1", apiUrl: "http://a:2" });
  expect(shown.verdicts[1]?.result.blindSpots).toEqual([{ ...spot, command: "a=http://o:1 http://a:2/x http://a:2" }]);
  expect({ ...shown, verdicts: [] }).toEqual({ ...sealed, verdicts: [] });
  expect(shown.verdicts[0]).toEqual(sealed.verdicts[0]);
});
