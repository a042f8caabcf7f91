/* WS4Redis for pages that are made of modules: its default export is what ws4redis.js defines. */
import "./ws4redis.js";

export default globalThis.WS4Redis;
