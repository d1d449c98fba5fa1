import '../driver.js';
