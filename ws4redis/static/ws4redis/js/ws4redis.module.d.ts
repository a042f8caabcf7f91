/** Types of `ws4redis.module.js`, for its use through `import`. */
import WS4Redis = require("./ws4redis");

export default WS4Redis;
