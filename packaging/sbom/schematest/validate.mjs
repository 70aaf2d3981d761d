// Validates a bill of materials on standard input against the schema of CycloneDX 1.6.
import { readFileSync } from "node:fs";
import * as CDX from "@cyclonedx/cyclonedx-library";

const validator = new CDX.Validation.JsonStrictValidator(CDX.Spec.Version.v1dot6);
const problems = await validator.validate(readFileSync(0, "utf8"));
if (problems !== null) {
	console.error(JSON.stringify(problems, null, 2));
	process.exit(1);
}
