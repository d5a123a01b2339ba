import { describeRequests } from "./request-suite.ts";
import { describeStreams } from "./stream-suite.ts";

describeRequests("request");
describeStreams("request");
